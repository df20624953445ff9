/**
 * A master: clients find it by moss, and call it; it knows them as members, by their keys.
 * docs/calls.md tells what goes to and fro.
 */

import { Emitter } from "./emitter.js";
import { Member } from "./member.js";
import { isHello, isName, random, TYPES } from "./names.js";
import { mustBeTrack } from "./peer.js";
import { whenPageGoes } from "./page.js";
import { Signaling } from "./signaling.js";
import { everySecond } from "./ticks.js";

const SLOT = 100; // Milliseconds between two new calls.
const DEPARTED_BYTES = 16_777_216; // Kept for all who are gone.
const REPLACED_LIVES = 8; // Of one key, remembered, so that a page that was taken over does not come back.

/**
 * @typedef {object} MasterOptions
 * @property {string} secret MOSS_CONNECTION_SECRET
 * @property {string | URL} [address] of moss; that which served the page if it is not given
 * @property {RTCIceServer[] | ((member: Member) => RTCIceServer[] | Promise<RTCIceServer[]>)} [iceServers] for both ends of a member's line; see `turnServers`
 * @property {number} [most] members at a time: 1,000 if it is not given
 * @property {Partial<import("./names.js").Types>} [types] packet types that moss was started with
 * @property {import("./signaling.js").SignalingOptions["WebSocket"]} [WebSocket] where there is no global one
 * @property {import("./peer.js").PeerConnection} [RTCPeerConnection] where there is no global one
 */

/**
 * @typedef {object} MasterEvents
 * @property {Member} member
 * @property {import("./signaling.js").Status} status
 * @property {{ code: string, message: string }} problem
 */

/** @extends {Emitter<MasterEvents>} */
export class Master extends Emitter {
  /** Those who are here, by their keys. @type {Map<string, Member>} */
  members = new Map();
  /** Says which start of this master it is. */
  session = random();
  /** The bare way to moss, for packets of your own. */
  signaling;

  #types;
  #iceServers;
  #most;
  #options;
  /** @type {import("./member.js").Host} */
  #host;
  /** @type {Map<string, Member>} */
  #byId = new Map();
  /** Connections whose member has left for good: none of them has another life. @type {Map<string, true>} */
  #spentIds = new Map();
  /** @type {Map<string, MediaStreamTrack | null>} */
  #shares = new Map();
  /** Lives that were replaced, by key. @type {Map<string, string[]>} */
  #replaced = new Map();
  /** Why they were sent away, by life. @type {Map<string, string>} */
  #kicked = new Map();
  /** The messages of who is gone, by life: a page that comes back gets what it missed. @type {Map<string, import("./messages.js").Messages>} */
  #departed = new Map();
  /** Who was refused something in this second. @type {Set<string>} */
  #refused = new Set();
  #nextSlot = 0;
  #isToBegin = true;
  #isRunning = false;
  #stopTicking = () => {};
  #stopWatching = () => {};

  /**
   * Begins by itself, once the code that made it has ended. Throws a TypeError without a secret, and for
   * an address that can't be one.
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

  /** The state of the way to moss: connecting, ready, waiting or stopped. */
  get state() {
    return this.signaling.state;
  }

  /** A new session: every client calls anew. */
  start() {
    this.#end();
    this.#isToBegin = false;
    this.#isRunning = true;
    this.session = random();
    this.signaling.renew({ calls: 1, session: this.session });
    // Only now: handlers may have started it, too.
    this.#rest();
    this.#stopWatching = whenPageGoes(() => this.#goodbye(), () => this.start());
    this.#stopTicking = everySecond((elapsed) => {
      this.#refused.clear();
      for (const member of this.members.values()) member.tick(elapsed);
    });
    this.signaling.start();
  }

  /** Says goodbye to all, and ends their lines. */
  stop() {
    this.#isToBegin = false;
    if (!this.#isRunning) return;
    this.#finish();
    this.signaling.stop();
  }

  /** Sends any JSON to all who are here (`Member.send`). @param {unknown} data */
  send(data) {
    for (const member of [...this.members.values()]) member.send(data);
  }

  /** Sends a track under a name of yours to all, those who come later too; null switches it off.
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
    this.#nextSlot = Math.min(Math.max(this.#nextSlot, now), now + SLOT * this.members.size); // The clock may be set back, or a stranger take many.
    const wait = this.#nextSlot - now;
    this.#nextSlot += SLOT;
    return wait;
  }

  /** @param {MasterEvents["status"]} status */
  #onStatus(status) {
    // Ids may be others from now on. Clients say who they are after each invitation.
    this.#byId.clear();
    this.#spentIds.clear();
    for (const member of this.members.values()) member.unbind();
    // Another master has all clients now, or moss takes this one no more: nothing will be mended.
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
    if (payload?.session !== this.session) return; // The invitation to this one is on its way.
    if (this.#turnsAway(id, payload)) return;
    const { key, life } = payload;
    const present = this.members.get(key);
    if (present?.isStale(payload)) return;
    if (present && present.life !== life) {
      this.#replace(present);
      if (!this.#isRunning || payload.session !== this.session) return; // By a handler.
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

  /** Whether this connection or this life can't be a member, whoever else is here. @param {string} id @param {any} payload */
  #turnsAway(id, { key, life, hello }) {
    if (!isName(key) || !isName(life) || !isHello(hello))
      return this.#refuse(id, "invalid", "A member needs a key, a life, and a hello of at most 4,000 bytes.");
    const reason = this.#kicked.get(life);
    if (reason !== undefined) {
      this.signaling.send(this.#types.kick, reason, id);
      return true;
    }
    if (this.#replaced.get(key)?.includes(life)) return this.#refuse(id, "moved", "Another page has this key now.", life);
    const bound = this.#byId.get(id);
    const isAnother = bound && (bound.key !== key || bound.life !== life);
    if (isAnother || this.#spentIds.has(id)) return this.#refuse(id, "invalid", "This connection already has another key or life.");
    return false;
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
  }

  /** Its page was reloaded, or another page knows its key: the last one counts. @param {Member} member */
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

  /** Its page may come back. Where too much is kept in all, those who left first are forgotten first.
   *  @param {string} life @param {import("./messages.js").Messages} messages */
  #remember(life, messages) {
    keep(this.#departed, life, messages, this.#most);
    let bytes = [...this.#departed.values()].reduce((sum, { keptBytes }) => sum + keptBytes, 0);
    for (const [oldest, { keptBytes }] of this.#departed) {
      if (bytes <= DEPARTED_BYTES) return;
      if (keptBytes && this.#departed.delete(oldest)) bytes -= keptBytes;
    }
  }

  /** It may be out of reach just now: it is sent away when it comes back, too. @param {Member} member @param {string} reason */
  #kick({ id, life }, reason) {
    keep(this.#kicked, life, reason, this.#most);
    if (id !== undefined) this.signaling.send(this.#types.kick, reason, id);
  }

  /** Once a second: each could be answered by two packets more.
   *  @param {string} id @param {string} code @param {string} message @param {string} [life] which alone must take it */
  #refuse(id, code, message, life) {
    if (!this.#refused.has(id)) this.signaling.send("refused", { code, message, life }, id);
    this.#refused.add(id);
    return true;
  }
}

/** Puts it into the map, and lets go of the oldest if they are too many.
 *  @template Value @param {Map<string, Value>} map @param {string} key @param {Value} value @param {number} most */
function keep(map, key, value, most) {
  map.set(key, value);
  if (map.size > most) map.delete(/** @type {string} */ (map.keys().next().value));
}
