/**
 * A master: clients find it through moss, and call it. Each is a member, identified by its key.
 * docs/calls.md specifies the packets.
 */

import { Emitter } from "./emitter.js";
import { Member } from "./member.js";
import { isHello, isName, random, TYPES } from "./names.js";
import { mustBeTrack } from "./peer.js";
import { whenPageGoes } from "./page.js";
import { Signaling } from "./signaling.js";
import { everySecond } from "./ticks.js";

const SLOT = 100; // Milliseconds between two new calls.
const DEPARTED_BYTES = 16_777_216; // Messages kept for all members that are gone.
const REPLACED_LIVES = 8; // Remembered for one key, so that a replaced page does not come back.

/**
 * @typedef {object} MasterOptions
 * @property {string} secret MOSS_CONNECTION_SECRET
 * @property {string | URL} [address] of moss; by default the moss that served the page
 * @property {RTCIceServer[] | ((member: Member) => RTCIceServer[] | Promise<RTCIceServer[]>)} [iceServers] for both sides of a line; see `turnServers`
 * @property {number} [most] how many members there may be at a time: by default 1,000
 * @property {Partial<import("./names.js").Types>} [types] packet types that moss was started with
 * @property {import("./signaling.js").SignalingOptions["WebSocket"]} [WebSocket] if there is no global one
 * @property {import("./peer.js").PeerConnection} [RTCPeerConnection] if there is no global one
 */

/**
 * @typedef {object} MasterEvents
 * @property {Member} member
 * @property {import("./signaling.js").Status} status
 * @property {{ code: string, message: string }} problem
 */

/** @extends {Emitter<MasterEvents>} */
export class Master extends Emitter {
  /** The present members, by key. @type {Map<string, Member>} */
  members = new Map();
  /** Identifies this start of the master. */
  session = random();
  /** The connection to moss, for packets of your own. */
  signaling;

  #types;
  #iceServers;
  #most;
  #options;
  /** @type {import("./member.js").Host} */
  #host;
  /** @type {Map<string, Member>} */
  #byId = new Map();
  /** Ids whose member has left, other than as `gone`: they can't become another member. @type {Map<string, true>} */
  #spentIds = new Map();
  /** Ids that have had two lives. @type {Map<string, true>} */
  #renewedIds = new Map();
  /** @type {Map<string, MediaStreamTrack | null>} */
  #shares = new Map();
  /** Replaced lives, by key. @type {Map<string, string[]>} */
  #replaced = new Map();
  /** The reasons of `kick`, by life. @type {Map<string, string>} */
  #kicked = new Map();
  /** Messages of members that are gone, by life: a page that comes back gets what it missed. @type {Map<string, import("./messages.js").Messages>} */
  #departed = new Map();
  /** Ids that got a `refused` in this second. @type {Set<string>} */
  #refused = new Set();
  #nextSlot = 0;
  #isToBegin = true;
  #isRunning = false;
  #stopTicking = () => {};
  #stopWatching = () => {};

  /**
   * Starts by itself, after the code that created it has ended. Throws a TypeError without a secret, and
   * for an invalid address.
   * @param {MasterOptions} options
   */
  constructor({ address, secret, iceServers = [], most = 1000, types = {}, WebSocket, RTCPeerConnection }) {
    super();
    if (secret === undefined) throw new TypeError("a master needs the secret that moss was started with");
    this.#types = { ...TYPES, ...types };
    this.#iceServers = iceServers;
    this.#most = most;
    this.#options = { RTCPeerConnection };
    const signaling = new Signaling({ address, secret, errorType: this.#types.error, WebSocket });
    this.signaling = signaling;
    const master = this;
    this.#host = {
      get session() {
        return master.session;
      },
      get isReady() {
        return signaling.state === "ready";
      },
      kick: (member, reason) => this.#kick(member, reason),
      send: (type, payload, id) => signaling.state === "ready" && signaling.send(type, payload, id),
      nextSlot: () => this.#takeSlot(),
      iceServers: async (member) => (typeof this.#iceServers === "function" ? this.#iceServers(member) : this.#iceServers),
      left: (member, why, messages) => this.#forget(member, why, messages),
    };
    signaling.on("status", (status) => this.#onStatus(status));
    signaling.on("packet", ({ type, payload, id }) => (id === undefined ? this.#onMoss(type, payload) : this.#onClient(id, type, payload)));
    signaling.on("problem", (problem) => this.#onProblem(problem));
    queueMicrotask(() => this.#isToBegin && this.start());
  }

  /** The state of the connection to moss: connecting, ready, waiting or stopped. */
  get state() {
    return this.signaling.state;
  }

  /** Starts a new session: all clients call again. */
  start() {
    this.#end();
    this.#isToBegin = false;
    this.#isRunning = true;
    this.session = random();
    this.signaling.renew({ calls: 1, session: this.session });
    // Not earlier: a handler of `left` may have called `start`, too.
    this.#rest();
    this.#stopWatching = whenPageGoes(() => this.#goodbye(), () => this.start());
    this.#stopTicking = everySecond((elapsed) => {
      this.#refused.clear();
      for (const member of this.members.values()) member.tick(elapsed);
    });
    this.signaling.start();
  }

  /** Tells all members that the master leaves, and ends their lines. */
  stop() {
    this.#isToBegin = false;
    if (!this.#isRunning) return;
    this.#finish();
    this.signaling.stop();
  }

  /** Sends a JSON value to all present members (`Member.send`). @param {unknown} data */
  send(data) {
    for (const member of [...this.members.values()]) member.send(data);
  }

  /** Sends a track under a name that you choose to all members, later ones too; null switches it off.
   *  @param {string} name @param {MediaStreamTrack | null} track */
  async share(name, track) {
    mustBeTrack(track);
    this.#shares.set(name, track);
    await Promise.all([...this.members.values()].map((member) => member.share(name, track)));
  }

  #finish() {
    this.#goodbye();
    this.#isRunning = false;
    this.#end();
  }

  #end() {
    this.#rest();
    for (const member of [...this.members.values()]) member.leave("stopped");
    this.#replaced.clear();
    this.#departed.clear();
    this.#kicked.clear();
  }

  #rest() {
    this.#stopTicking();
    this.#stopWatching();
  }

  #goodbye() {
    for (const member of this.members.values()) member.tell("bye", { session: this.session });
  }

  #takeSlot() {
    const now = Date.now();
    this.#nextSlot = Math.min(Math.max(this.#nextSlot, now), now + SLOT * this.members.size); // Limits the wait if the clock is set back, or a stranger takes many slots.
    const wait = this.#nextSlot - now;
    this.#nextSlot += SLOT;
    return wait;
  }

  /** @param {MasterEvents["status"]} status */
  #onStatus(status) {
    // Ids may have changed. Clients send `member` after each invitation.
    this.#byId.clear();
    this.#spentIds.clear();
    this.#renewedIds.clear();
    for (const member of this.members.values()) member.unbind();
    // Another master has all clients now, or moss refuses this one: no line can be repaired any more.
    if (status.state === "stopped" && this.#isRunning) this.#finish();
    this.emit("status", status);
  }

  /** @param {{ code: string, message: string, id?: string }} problem */
  #onProblem(problem) {
    if (problem.code === "unknown-client" && problem.id !== undefined) this.#unbind(problem.id);
    else this.emit("problem", problem);
  }

  /** @param {string} type @param {any} payload */
  #onMoss(type, payload) {
    if (type === this.#types.clientLeft) this.#unbind(payload?.id);
  }

  /** @param {string} id */
  #unbind(id) {
    const member = this.#byId.get(id);
    this.#byId.delete(id);
    this.#spentIds.delete(id);
    this.#renewedIds.delete(id);
    member?.unbind();
  }

  /** @param {string} id @param {string} type @param {any} payload */
  #onClient(id, type, payload) {
    if (type === "member") return this.#onMember(id, payload);
    const member = this.#byId.get(id);
    if (member) member.hear(type, payload);
    else if (type === "offer" || type === "answer" || type === "message") this.#refuse(id, "unknown", "Send a packet of type member first.");
  }

  /** @param {string} id @param {any} payload */
  #onMember(id, payload) {
    if (payload?.session !== this.session) return; // The invitation to this session is on its way.
    if (this.#turnsAway(id, payload)) return;
    const { key, life } = payload;
    const present = this.members.get(key);
    if (present?.isStale(payload)) return;
    if (present && present.life !== life) {
      this.#replace(present);
      if (!this.#isRunning || payload.session !== this.session) return; // A handler of `left` stopped or restarted this master.
    }
    const member = this.members.get(key) ?? this.#admit(id, payload);
    if (!member) return;
    const isElsewhere = member.id !== id;
    if (isElsewhere) this.#bind(id, member);
    if (member !== present) {
      for (const [name, track] of this.#shares) member.share(name, track);
      this.emit("member", member);
    }
    member.greet(payload, isElsewhere);
  }

  /** Refuses a connection or a life that can't be a member, and says why; returns whether it did. @param {string} id @param {any} payload */
  #turnsAway(id, { key, life, hello }) {
    if (!isName(key) || !isName(life) || !isHello(hello))
      return this.#refuse(id, "invalid", "A member needs a key, a life, and a hello of at most 4,000 bytes.");
    const reason = this.#kicked.get(life);
    if (reason !== undefined) {
      this.signaling.send(this.#types.kick, reason, id);
      return true;
    }
    if (this.#replaced.get(key)?.includes(life)) return this.#refuse(id, "moved", "Another page has this key now.", life);
    if (this.#spentIds.has(id) || !this.#mayBe(id, key, life)) return this.#refuse(id, "invalid", "This connection already has another key or life.");
    return false;
  }

  /**
   * Whether this connection has no other key or life. It may have one other life: if two masters replace each other
   * while a client logs in, each invitation begins a life. More lives would be a flood of members.
   * @param {string} id @param {string} key @param {string} life
   */
  #mayBe(id, key, life) {
    const bound = this.#byId.get(id);
    if (!bound || (bound.key === key && bound.life === life)) return true;
    if (bound.key !== key || this.#renewedIds.has(id)) return false;
    keep(this.#renewedIds, id, true, this.#most);
    return true;
  }

  /** @param {string} id @param {any} payload */
  #admit(id, { key, life, hello, again }) {
    if (this.members.size >= this.#most) return void this.#refuse(id, "full", "The master is full: it takes no more members.");
    const messages = this.#departed.get(life);
    if (again && !messages) return void this.#refuse(id, "gone", "This life was gone for too long: begin a new one.", life);
    this.#departed.delete(life);
    const member = new Member(this.#host, { key, life, hello }, { ...this.#options, messages });
    this.members.set(key, member);
    return member;
  }

  /** @param {string} id @param {Member} member */
  #bind(id, member) {
    if (member.id !== undefined) this.#byId.delete(member.id);
    member.id = id;
    this.#byId.set(id, member);
    this.#spentIds.delete(id); // Spent by an earlier life of this connection.
  }

  /** The page was reloaded, or another page has the key: the newer one replaces the member. @param {Member} member */
  #replace(member) {
    const { key, life } = member;
    member.tell("refused", { code: "moved", message: "Another page has this key now.", life });
    keep(this.#replaced, key, [life, ...(this.#replaced.get(key) ?? [])].slice(0, REPLACED_LIVES), this.#most);
    member.leave("replaced");
  }

  /** @param {Member} member @param {import("./member.js").Why} why @param {import("./messages.js").Messages} messages */
  #forget(member, why, messages) {
    this.members.delete(member.key);
    if (member.id !== undefined) {
      this.#byId.delete(member.id);
      if (why !== "gone") keep(this.#spentIds, member.id, true, this.#most);
    }
    if (why === "gone") this.#remember(member.life, messages);
  }

  /** Keeps the messages, as the page may come back. Above the limit, the oldest are dropped.
   *  @param {string} life @param {import("./messages.js").Messages} messages */
  #remember(life, messages) {
    keep(this.#departed, life, messages, this.#most);
    let bytes = [...this.#departed.values()].reduce((sum, { keptBytes }) => sum + keptBytes, 0);
    for (const [oldest, { keptBytes }] of this.#departed) {
      if (bytes <= DEPARTED_BYTES) return;
      if (keptBytes && this.#departed.delete(oldest)) bytes -= keptBytes;
    }
  }

  /** Remembers the reason, too: a member that is out of reach is kicked when it comes back. @param {Member} member @param {string} reason */
  #kick({ id, life }, reason) {
    keep(this.#kicked, life, reason, this.#most);
    if (id !== undefined) this.signaling.send(this.#types.kick, reason, id);
  }

  /** Refuses at most once a second for each id: a client may answer each refusal by more packets.
   *  @param {string} id @param {string} code @param {string} message @param {string} [life] the only life that it is for */
  #refuse(id, code, message, life) {
    if (!this.#refused.has(id)) this.signaling.send("refused", { code, message, life }, id);
    this.#refused.add(id);
    return true;
  }
}

/** Puts the value into the map, and removes the oldest one if there are too many.
 *  @template Value @param {Map<string, Value>} map @param {string} key @param {Value} value @param {number} most */
function keep(map, key, value, most) {
  map.set(key, value);
  if (map.size > most) map.delete(/** @type {string} */ (map.keys().next().value));
}
