/**
 * A client: it finds the master through moss, calls it, and keeps the line up. Only the client
 * calls, and only it repairs the line: it restarts ICE, and calls again if that does not help.
 * While moss is down the line stays up; only repairing it needs moss.
 *
 * docs/calls.md specifies the packets.
 */

import { Peer } from "./peer.js";
import { messageOf } from "./line.js";
import { Mending } from "./mending.js";
import { isHello, isName, random, TYPES } from "./names.js";
import { whenPageGoes } from "./page.js";
import { Signaling } from "./signaling.js";
import { everySecond } from "./ticks.js";

const KEY = "moss-key"; // In the storage.
// All in milliseconds.
const MEMBER_AGAIN = 10_000; // While there is no line.
const WAIT_AT_MOST = 120_000;
const ALONE_AFTER = 2000; // Without an invitation: if there is a master, moss sends that at once.
const MEMBER_AGAIN_AT_LEAST = 5000; // Even if the master asks more often.

/**
 * @typedef {object} ClientOptions
 * @property {string | URL} [address] of moss; by default the moss that served the page
 * @property {string} [loginSecret] the secret of clients, if moss has one (MOSS_LOGIN_SECRET)
 * @property {unknown} [hello] what the client tells the master about itself: JSON of at most 4,000 bytes
 * @property {"moss"} [fallback] messages go through moss when there has been no line for 3 s
 * @property {Record<string, "audio" | "video">} [receive] media that the master will send, by name: for masters that never make an offer
 * @property {Pick<Storage, "getItem" | "setItem"> | null} [storage] stores the key: by default sessionStorage; null stores nothing
 * @property {Partial<import("./names.js").Types>} [types] packet types that moss was started with
 * @property {import("./signaling.js").SignalingOptions["WebSocket"]} [WebSocket] if there is no global one
 * @property {import("./peer.js").PeerConnection} [RTCPeerConnection] if there is no global one
 */

/**
 * @typedef {import("./peer.js").PeerEvents & {
 *   master: { session: string },
 *   status: import("./signaling.js").Status,
 * }} ClientEvents
 */

/** @extends {Peer<ClientEvents>} */
export class Client extends Peer {
  /** Identifies the client to the master: the same after a reload of the tab, another one in another tab. Keep it secret. */
  key;
  /** The connection to moss, for packets of your own. */
  signaling;

  #types;
  #receive;
  /** @type {unknown} */
  #hello;
  #helloIsNew = false; // It was not sent over a line yet.
  #life = "";
  #isToBegin = true;
  #isRunning = false;
  #stopTicking = () => {};
  #stopWatching = () => {};

  /** @type {string | undefined} Of the last invitation. */
  #session;
  #isInvited = false; // By the present master.
  #isAlone = false; // There is no master at moss.
  #isWelcome = false; // The master has welcomed this login.
  #wasWelcome = false; // The master has welcomed this life before.
  #mustRepeat = false; // The last packets to the master may be lost.
  #isRefused = false;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #callSoon;

  #mending = new Mending();
  #sinceMember = 0; // Milliseconds.
  #wasUp = false; // The line, at the last `look`.
  #hasMissed = false; // Packets of this call may be lost.
  #lonely = 0; // Milliseconds since the login, without an invitation.

  /**
   * Starts by itself, after the code that created it has ended. Throws a TypeError for an invalid
   * address, a hello that is not JSON or an unknown kind of media; a RangeError for a hello that is too long.
   * @param {ClientOptions} [options]
   */
  constructor({ address, loginSecret, hello, fallback, receive = {}, storage = tabStorage(), types = {}, WebSocket, RTCPeerConnection } = {}) {
    super({ RTCPeerConnection });
    for (const kind of Object.values(receive))
      if (kind !== "audio" && kind !== "video") throw new TypeError(`receive takes "audio" or "video", not "${kind}"`);
    this.#types = { ...TYPES, ...types };
    this.signaling = new Signaling({ address, loginSecret, errorType: this.#types.error, WebSocket });
    this.#hello = copy(hello);
    this.fallback = fallback === "moss";
    this.#receive = receive;
    this.key = keyIn(storage);
    this.signaling.on("status", (status) => this.#onStatus(status));
    this.signaling.on("packet", ({ type, payload }) => this.#onPacket(type, payload));
    this.signaling.on("problem", (problem) => this.#onProblem(problem));
    queueMicrotask(() => this.#isToBegin && this.start());
  }

  /** The state of the connection to moss: connecting, ready, waiting or stopped. */
  get state() {
    return this.signaling.state;
  }

  /** What the client tells the master about itself. A new value is sent to the master; throws as the constructor does. */
  get hello() {
    return this.#hello;
  }

  set hello(hello) {
    this.#hello = copy(hello);
    this.#helloIsNew = true;
    this.#tellMember(); // `look` sends it over the line, too: either connection may be dead unnoticed.
    this.look();
  }

  start() {
    this.endLine();
    this.#isToBegin = false;
    this.#isRunning = true;
    this.#begin();
    this.#session = undefined;
    this.#leaveMaster();
    // Not earlier: a handler of the events above may have called `start`, too.
    this.#rest();
    this.#stopTicking = everySecond((elapsed) => this.tick(elapsed));
    this.#stopWatching = whenPageGoes(() => this.#goodbye(), () => this.start());
    this.signaling.start();
  }

  /** Tells the master that the client leaves, and ends the line. */
  stop() {
    this.#stop(() => this.signaling.stop());
  }

  /** @param {() => void} end */
  #stop(end) {
    this.#isToBegin = false;
    if (!this.#isRunning) return;
    this.#goodbye();
    this.#isRunning = false;
    this.#rest();
    this.messages.stop();
    end();
    this.#leaveMaster();
    this.endLine();
  }

  #rest() {
    this.#stopTicking();
    this.#stopWatching();
  }

  #goodbye() {
    const bye = { life: this.#life };
    this.line?.send("bye", bye);
    if (this.#isWelcome) this.sendByMoss("bye", bye);
  }

  /** Begins a new life: messages are numbered from 1 again. */
  #begin() {
    this.#life = random();
    this.#wasWelcome = false;
    this.messages.reset();
  }

  /** @protected */
  get mossIsReady() {
    return this.#isWelcome;
  }

  /** @protected */
  get isAlone() {
    return this.#isAlone;
  }

  /** @protected */
  get lives() {
    return { session: this.#session, life: this.#life };
  }

  /** @protected @param {string} type @param {object} payload */
  sendByMoss(type, payload) {
    const sent = this.#isInvited && this.signaling.send(type, payload);
    if (!sent) this.#hasMissed = true;
    return sent;
  }

  /** @param {ClientEvents["status"]} status */
  #onStatus(status) {
    // After each login the client has a new id, which the master does not know yet.
    this.#leaveMaster();
    if (status.code === "kicked" && this.#isRunning) this.#stop(() => {});
    this.emit("status", status);
  }

  #leaveMaster() {
    this.#isInvited = this.#isWelcome = this.#isAlone = false;
    this.#hasMissed = this.#mustRepeat = true;
    this.#lonely = 0;
    clearTimeout(this.#callSoon);
    this.#callSoon = undefined;
    this.look();
  }

  /** There is no master now. */
  #miss() {
    this.#leaveMaster();
    this.#isAlone = true;
    this.look();
  }

  /** @param {{ code: string, message: string, id?: string }} problem */
  #onProblem(problem) {
    if (problem.code === "no-master") this.#miss();
    else this.emit("problem", problem);
  }

  /** @param {string} type @param {any} payload */
  #onPacket(type, payload) {
    if (type === this.#types.offer) this.#onInvitation(payload);
    else if (type === this.#types.masterLeft) this.#miss();
    else if (type === this.#types.kick || type === "kick") this.#onKick(payload);
    else if (type === "welcome") this.#onWelcome(payload);
    else if (type === "refused") this.#onRefused(payload);
    else if (type === "bye") this.#onBye(payload);
    else if ((type !== "message" && type !== "ack") || (payload?.session === this.#session && payload?.life === this.#life)) this.receive(type, payload);
  }

  /** @protected @param {string} type @param {any} payload */
  receiveByLine(type, payload) {
    if (type === "kick") this.#onKick(payload);
    else if (type === "bye") this.#onBye(payload);
    else if (type === "refused") this.#onRefused(payload);
    else if (type === "welcome") this.#takeServers(payload);
    else this.receive(type, payload);
  }

  /** @param {any} invitation */
  #onInvitation(invitation) {
    if (invitation?.calls !== 1 || !isName(invitation.session))
      return this.emit("problem", { code: "invalid", message: "The master does not use the protocol that this page uses." });
    const { session } = invitation;
    this.#isInvited = this.#mustRepeat = true;
    this.#isAlone = false;
    if (session !== this.#session) {
      this.#leaveMaster();
      this.#isInvited = true;
      this.endLine();
      this.#session = session;
      this.#begin(); // A master of an earlier session may still have the old life's message numbers.
      this.#mending.begin();
      this.emit("master", { session });
    }
    this.look();
    this.#tellMember();
  }

  #member() {
    const { key, line } = this;
    return {
      session: this.#session, key, life: this.#life, hello: this.#hello, call: line?.isOffered ? line.call : undefined,
      fallback: this.fallback || undefined, again: this.#wasWelcome || undefined, at: Date.now(),
    };
  }

  #tellMember() {
    this.#sinceMember = 0;
    return this.sendByMoss("member", this.#member());
  }

  /** @param {any} welcome */
  #onWelcome(welcome) {
    if (!this.#isInvited || welcome?.session !== this.#session || welcome.life !== this.#life) return;
    const mustRepeat = this.#mustRepeat;
    this.#isWelcome = this.#wasWelcome = true;
    this.#isRefused = this.#mustRepeat = false;
    this.#takeServers(welcome);
    if (!this.#isWelcome) return; // A handler of `problem` called `stop`.
    const { line } = this;
    if (!line) {
      const wait = welcome.wait > 0 ? Math.min(welcome.wait, WAIT_AT_MOST) : 0;
      this.#callSoon ??= setTimeout(() => this.#call(), wait);
      return this.look();
    }
    if (mustRepeat) this.repeat();
    if (line.up) return welcome.down === true && welcome.call === line.call ? this.#mend(this.#mending.told()) : undefined;
    // The master asks whether this page is still there.
    if (!mustRepeat && this.#sinceMember >= MEMBER_AGAIN_AT_LEAST) this.#tellMember();
    if (welcome.known === false && welcome.call === line.call) {
      if (this.#mending.mayCall) this.#call();
    } else if (this.#hasMissed) this.#restart();
  }

  /** @param {any} welcome */
  #takeServers(welcome) {
    const iceServers = welcome?.iceServers;
    if (!Array.isArray(iceServers)) return;
    this.#iceServers = iceServers;
    this.line?.setServers(iceServers);
  }

  /** @param {any} refusal */
  #onRefused(refusal) {
    const { code, message, life = this.#life } = refusal ?? {};
    if (life !== this.#life) return; // For a former life.
    if (code === "moved") return this.#stop(() => this.signaling.stop("Another page has taken the place of this one.", "moved"));
    if (code === "unknown" || code === "gone") {
      if (code === "gone") {
        this.#begin();
        this.endLine();
        this.emit("master", { session: String(this.#session) });
      }
      if (this.#sinceMember >= MEMBER_AGAIN_AT_LEAST || code === "gone") this.#tellMember();
    } else if (!this.#isRefused) {
      this.#isRefused = true;
      this.emit("problem", { code: String(code), message: String(message) });
    }
  }

  /** @param {any} bye */
  #onBye(bye) {
    if (bye?.session !== this.#session) return;
    this.#miss();
    this.endLine();
  }

  /** @param {unknown} reason */
  #onKick(reason) {
    this.#stop(() => this.signaling.stop(`The master disconnected this page${typeof reason === "string" && reason ? `: ${reason}` : ""}.`, "kicked"));
  }

  #call() {
    clearTimeout(this.#callSoon);
    this.#callSoon = undefined;
    this.#mending.called();
    this.#hasMissed = false;
    try {
      const line = this.makeLine(random(), { polite: true, iceServers: this.#iceServers });
      if (line !== this.line) return; // A handler of `connection` called `stop`.
      line.open();
      for (const [name, kind] of Object.entries(this.#receive)) line.want(name, kind);
      for (const [name, track] of this.shares) line.share(name, track);
    } catch (error) {
      this.emit("problem", { code: "call", message: messageOf(error) });
    }
    this.look();
  }

  #restart() {
    this.#hasMissed = false;
    this.#mending.restarted();
    this.line?.restart();
  }

  /** @protected */
  look() {
    super.look();
    const isUp = this.line?.up === true;
    if (this.#wasUp && !isUp) this.doubt();
    this.#wasUp = isUp;
    if (!this.line?.up) return;
    this.#mending.isUp();
    this.#hasMissed = false;
    if (this.#helloIsNew) this.#helloIsNew = !this.line.send("member", this.#member());
  }

  /** What broke the line may have broken the connection to moss too, and TCP notices that late. @protected */
  doubt() {
    if (this.#isRunning) this.signaling.check();
  }

  /** @protected @param {number} elapsed */
  tick(elapsed) {
    super.tick(elapsed);
    if (this.state === "ready" && !this.#isInvited && !this.#isAlone && (this.#lonely += elapsed) >= ALONE_AFTER) this.#miss();
    if (!this.#isInvited) return; // Without a master the line can't be repaired, and no deadline runs.
    const { line } = this;
    this.#sinceMember += elapsed;
    this.#mending.tick(elapsed);
    if (!(line?.up && this.#isWelcome) && this.#sinceMember >= MEMBER_AGAIN) this.#tellMember();
    if (!line || line.up || !this.#isWelcome) return;
    this.#mend(this.#mending.due(line, this.downFor, elapsed));
  }

  /** @param {"call" | "restart" | undefined} due */
  #mend(due) {
    if (due === "call") this.#call();
    if (due === "restart") this.#restart();
  }
}

/** A copy: later changes to the application's object would be sent unchecked. @param {unknown} hello */
function copy(hello) {
  const text = JSON.stringify(hello); // Throws a TypeError for what can't be written as JSON.
  if (!isHello(hello)) throw new RangeError("hello has more than 4,000 bytes as JSON");
  return text === undefined ? undefined : JSON.parse(text);
}

/** The stored key, or a new one. @param {ClientOptions["storage"]} storage */
function keyIn(storage) {
  let key;
  try {
    key = storage?.getItem(KEY);
    if (!isName(key)) storage?.setItem(KEY, (key = random()));
  } catch {
    // Full, or forbidden: the page is a new member after a reload.
  }
  return isName(key) ? key : random();
}

/** The tab's own storage, if there is one and it may be used. */
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
