// In milliseconds, each from a range.
const DISCONNECTS = [3_000, 7_000]; // From the last answer of the other side to `disconnected`.
const FAILS = [10_000, 20_000]; // From then to `failed`.
const CHECKS_FOR = [12_000, 30_000]; // From the first unanswered check to `failed`.

/**
 * The ICE agent of one connection, with DTLS and SCTP as far as they depend on it. `state` is the present
 * state; the page gets its events a moment later. A generation is named by the ufrags of both sides.
 */
export class Ice {
  state = "new";
  selected; // { other, local, remote, type, at: [address, address] }
  other; // The connection on the other side of DTLS, which never changes.
  #connection;
  #network;
  #timers = {}; // check, better, worse
  #checking; // The generation that is being checked.

  constructor(connection, network) {
    this.#connection = connection;
    this.#network = network;
  }

  /** Called when descriptions, candidates, the network or the other side changed. */
  evaluate() {
    if (this.state === "closed") return;
    const wanted = this.#wanted;
    if (wanted && wanted !== this.#checking) this.#begin(wanted);
    const works = this.carries;
    if (works) this.#cancel("worse");
    if (works && ["disconnected", "checking"].includes(this.state)) this.#arm("better", 10, 900, () => this.carries && this.#become("connected"));
    if (!works) this.#cancel("better");
    if (!works && this.state === "connected") this.#arm("worse", ...DISCONNECTS, () => this.#become("disconnected"));
    if (!works && this.state === "disconnected") this.#arm("worse", ...FAILS, () => this.#become("failed"));
    if (!works && this.state === "checking") this.#arm("worse", ...CHECKS_FOR, () => this.#become("failed"));
    if (this.#answered()) this.#arm("check", 10, 300, () => this.#select());
    else this.#cancel("check");
  }

  /** Whether packets reach the other side over the pair in use. */
  get carries() {
    const { selected } = this;
    if (!selected || this.state === "closed") return false;
    const { other, type, local, remote } = selected;
    const back = other.ice.selected;
    return back?.local === remote && back.remote === local && this.#passes(other, type, selected.at);
  }

  close() {
    this.state = "closed";
    for (const name of Object.keys(this.#timers)) this.#cancel(name);
    if (this.other) this.other.ice.evaluate();
  }

  get #wanted() {
    const { agreed } = this.#connection;
    if (!agreed) return undefined;
    const wanted = `${agreed.local} ${agreed.remote}`;
    const { selected } = this;
    return selected && `${selected.local} ${selected.remote}` === wanted ? undefined : wanted;
  }

  #begin(wanted) {
    this.#checking = wanted;
    this.#cancel("check");
    const restart = this.state !== "new";
    if (restart && this.carries && !this.#connection.flavour.restartShows) return;
    this.#cancel("worse");
    this.#become("checking");
  }

  /** The type of the path, if both sides have the same generation and each other's candidates. */
  #answered() {
    if (!this.#wanted || this.state === "failed") return undefined;
    const me = this.#connection;
    const other = me.farSide();
    if (!other || other.closed || other.ice.state === "failed") return undefined;
    if (other.agreed?.local !== me.agreed.remote || other.agreed.remote !== me.agreed.local) return undefined;
    if ((this.other && this.other !== other) || (other.ice.other && other.ice.other !== me)) return undefined;
    const known = [...me.remoteCandidates, ...other.remoteCandidates];
    return ["direct", "relay"].find(
      (type) => known.some((candidate) => candidate.type === type && candidate.works) && this.#passes(other, type),
    );
  }

  #passes(other, type, at = [this.#connection.page.address, other.page.address]) {
    const { page } = this.#connection;
    if (other.closed || other.dead || page.address !== at[0] || other.page.address !== at[1]) return false;
    return this.#network.open(page, other.page, type);
  }

  #select() {
    const type = this.#answered();
    if (!type) return;
    const me = this.#connection;
    const other = me.farSide();
    this.#take(other, type);
    other.ice.#take(me, type);
    me.associated(other);
    other.associated(me);
    this.evaluate();
    other.ice.evaluate();
    me.pump();
    other.pump();
  }

  #take(other, type) {
    const { agreed, page } = this.#connection;
    this.other = other;
    this.selected = { other, type, ...agreed, at: [page.address, other.page.address] };
    this.#cancel("worse");
    this.#cancel("check");
    if (this.state === "connected") return;
    this.#become("connected");
  }

  #become(state) {
    if (this.state === state || this.state === "closed") return;
    this.state = state;
    if (state === "failed") this.selected = undefined;
    this.#connection.iceIs(state);
    this.evaluate();
    if (this.other && this.other.ice.state !== "closed") this.other.ice.evaluate();
    if (this.carries) this.#connection.pump();
  }

  #arm(name, low, high, job) {
    if (this.#timers[name]) return;
    const { world } = this.#connection;
    this.#timers[name] = world.after(world.chance.between(low, high), undefined, () => {
      this.#timers[name] = undefined;
      job();
    });
  }

  #cancel(name) {
    this.#connection.world.cancel(this.#timers[name]);
    this.#timers[name] = undefined;
  }
}
