/**
 * One life of a client's page, as its master sees it: its key, its id at moss, its line, and its
 * limits. The client calls and repairs; a member only answers.
 *
 * A client may be anybody's program: what is invalid or above a limit is dropped, reported as a
 * `problem`, and affects only this member.
 */

import { Budget } from "./budget.js";
import { messageOf } from "./line.js";
import { bytesOf, isHello, isName } from "./names.js";
import { Peer } from "./peer.js";
import { expiryOf } from "./turn.js";

// All in milliseconds.
const GONE_AFTER = 30_000;
const ASK_AFTER = 8000; // A client that knows that its line is down sends something earlier.
const ASK_EVERY = 10_000;
const SILENT_AT_MOST = 300_000; // For a client that is connected to moss, but sends nothing.
const SERVERS_WITHIN = 10_000;
const RENEW_AT_LEAST = 5000; // However soon credentials end.
const STALE_AT_MOST = 300_000; // By then TCP gives up. A larger difference means that the clock was set back.
const FLOOD_AGAIN = 10_000; // Between two problems `flood`.

/** With its envelope, such a packet has the default MOSS_MAX_PACKET_BYTES: a longer one would end the master's connection. */
const PACKET_BYTES = 262_000;

const PACKETS = { most: 2000, more: 500 };
const OFFERS = { most: 20, more: 1 }; // Each change of media needs an offer, and both sides may change theirs at once.
const DATAGRAMS = { most: 2000, more: 1000 };
const ENDED_CALLS = 16; // Remembered, so that a late offer of an ended call does not start a new one.

/** @typedef {"goodbye" | "gone" | "replaced" | "kicked" | "stopped"} Why */
/** @typedef {import("./peer.js").PeerEvents & { hello: any, left: Why }} MemberEvents */

/**
 * What a member needs from its master.
 * @typedef {object} Host
 * @property {string} session
 * @property {boolean} isReady whether it is confirmed as master
 * @property {(type: string, payload: unknown, id: string) => boolean} send
 * @property {() => number} nextSlot milliseconds before the next new call should come
 * @property {(member: Member) => Promise<RTCIceServer[]>} iceServers
 * @property {(member: Member, why: Why, messages: import("./messages.js").Messages) => void} left
 * @property {(member: Member, reason: string) => void} kick has moss disconnect it, now or when it comes back
 */

/** @extends {Peer<MemberEvents>} */
export class Member extends Peer {
  /** The id of its connection to moss; undefined while there is none. @type {string | undefined} */
  id;
  /** False once it has left. */
  isHere = true;

  #host;
  /** @type {any} */
  #hello;
  /** @type {Promise<RTCIceServer[]> | undefined} */
  #iceServers;
  /** The last valid list. @type {RTCIceServer[]} */
  #lastServers = [];
  #renewAt = Infinity; // A time of day: credentials expire also while a machine sleeps.
  /** @type {string[]} */
  #endedCalls = [];

  #saidAt = -Infinity; // When its last `member` was sent, by the client's clock.
  #silent = 0; // Milliseconds since a packet came from it, or its line was up.
  #absent = 0; // How many of these, up to now, it had no id.
  #asked = 0;
  #packets = new Budget(PACKETS);
  #offers = new Budget(OFFERS);
  #datagrams = new Budget(DATAGRAMS);
  #sinceFlood = FLOOD_AGAIN;

  /**
   * @param {Host} host
   * @param {{ key: string, life: string, hello: unknown }} who
   * @param {{ RTCPeerConnection?: import("./peer.js").PeerConnection, messages?: import("./messages.js").Messages }} options
   */
  constructor(host, { key, life, hello }, options) {
    super(options);
    this.#host = host;
    /** Identifies the client: the same after a reload of its page, and a restart of moss or of the master. Keep it secret: anyone who knows it can take the client's place. */
    this.key = key;
    /** Identifies this load of its page. */
    this.life = life;
    this.#hello = hello;
  }

  /** What the client tells about itself: any JSON, which a stranger may have written. */
  get hello() {
    return this.#hello;
  }

  /** Sends a JSON value, as `Client.send` does. Returns false also if the member has left. @param {unknown} data */
  send(data) {
    return this.isHere && super.send(data);
  }

  /** Disconnects it: its page stops. It can come back by a reload.
   *  @param {string} [reason] shown to the person */
  kick(reason = "") {
    this.line?.send("kick", reason);
    this.#host.kick(this, reason);
    this.leave("kicked");
  }

  /** @protected */
  get mossIsReady() {
    return this.#host.isReady && this.id !== undefined;
  }

  /** @protected */
  get lives() {
    return { session: this.#host.session, life: this.life };
  }

  /** @protected @param {string} type @param {object} payload */
  sendByMoss(type, payload) {
    if (this.id === undefined) return false;
    if (bytesOf(payload) <= PACKET_BYTES) return this.#host.send(type, payload, this.id);
    this.emit("problem", { code: "too-long", message: `A packet of type ${type} would have more than ${PACKET_BYTES} bytes, too many for moss.` });
    return false;
  }

  /** Sends it over the line and through moss, since one of them may be dead. @internal @param {string} type @param {object} payload */
  tell(type, payload) {
    this.line?.send(type, payload);
    this.sendByMoss(type, payload);
  }

  /** Whether a packet `member` is older than the last one: a connection that the page gave up, perhaps before a
   *  reload, may still deliver. All pages with one key have the same clock. @internal @param {{ at?: unknown }} member */
  isStale({ at }) {
    return typeof at === "number" && at < this.#saidAt && this.#saidAt - at < STALE_AT_MOST;
  }

  /** Answers its packet `member`, which may have come under another id. @internal
   *  @param {{ hello?: unknown, call?: unknown, fallback?: unknown, at?: unknown }} member @param {boolean} isElsewhere */
  async greet({ hello, call, fallback, at }, isElsewhere) {
    this.#silent = 0;
    if (!this.#affords(undefined)) return;
    this.fallback = fallback === true;
    this.#change(hello, at);
    const named = isName(call) ? call : undefined; // Otherwise a client could make the master send back any text, of any length.
    const isKnown = this.line !== undefined && named === this.line.call && !this.line.ended;
    const wait = this.line ? 0 : this.#host.nextSlot();
    const iceServers = await this.#servers();
    if (!this.isHere) return;
    const down = (isKnown && this.#isBroken) || undefined;
    this.sendByMoss("welcome", { ...this.lives, iceServers, wait, call: named, known: named && isKnown, down });
    if (isElsewhere) this.repeat();
    else this.look();
  }

  /** Handles a packet that came through moss. @internal @param {string} type @param {any} payload */
  hear(type, payload) {
    this.#silent = 0;
    if (!this.#affords(payload)) return;
    if (type === "offer" && !this.#mayCall(payload)) return;
    if ((type === "message" || type === "ack") && (payload?.session !== this.#host.session || payload.life !== this.life)) return;
    this.#take(type, payload);
  }

  /** @protected @param {string} type @param {any} payload */
  receiveByLine(type, payload) {
    if (!this.#affords(payload)) return;
    if (type === "member") return payload?.life === this.life && isHello(payload.hello) && !this.isStale(payload) && this.#change(payload.hello, payload.at);
    if (type === "offer" && (payload?.call !== this.line?.call || !this.#affordsOffer())) return;
    this.#take(type, payload);
  }

  /** Handles a packet that came through moss or over the line. @param {string} type @param {any} payload */
  #take(type, payload) {
    if (type === "bye") return payload?.life === this.life && this.leave("goodbye");
    if (type === "answer" && (payload?.call !== this.line?.call || !this.#affordsOffer())) return;
    this.receive(type, payload);
  }

  /** @protected @param {string | ArrayBuffer} data */
  receiveDatagram(data) {
    if (this.#datagrams.takes() || this.#isFlood("datagrams")) super.receiveDatagram(data);
  }

  /** Its connection to moss has ended. @internal */
  unbind() {
    this.id = undefined;
    this.look();
  }

  /** @internal @param {Why} why */
  leave(why) {
    if (!this.isHere) return;
    this.isHere = false;
    this.messages.stop();
    this.#host.left(this, why, this.messages);
    this.id = undefined; // So that nothing more is sent.
    this.endLine();
    this.emit("left", why);
  }

  /** @internal @param {number} elapsed */
  tick(elapsed) {
    super.tick(elapsed);
    for (const budget of [this.#packets, this.#offers, this.#datagrams]) budget.tick(elapsed);
    this.#sinceFlood += elapsed;
    if (Date.now() >= this.#renewAt) this.#renew();
    if (this.line?.up) this.#silent = this.#absent = 0;
    else if (this.#host.isReady) this.#miss(elapsed);
  }

  /** @param {number} elapsed */
  #miss(elapsed) {
    this.#silent += elapsed;
    this.#absent = this.id === undefined ? this.#absent + elapsed : 0;
    if (this.#absent >= GONE_AFTER || this.#silent >= SILENT_AT_MOST) return this.leave("gone");
    this.#asked += elapsed;
    if (this.id === undefined || this.#silent < ASK_AFTER || this.#asked < ASK_EVERY) return;
    this.#asked = 0;
    this.sendByMoss("welcome", { ...this.lives, wait: 0, call: this.line?.call, down: this.#isBroken || undefined });
  }

  /** The client may see its side as up: after a change of its address it may still send, but receive nothing. */
  get #isBroken() {
    return this.line !== undefined && this.line.wasUp && !this.line.up;
  }

  /** @param {any} offer */
  #mayCall(offer) {
    const { call } = offer ?? {};
    if (!isName(call) || this.#endedCalls.includes(call) || !this.#affordsOffer()) return false;
    if (call === this.line?.call) return true;
    if (offer.n !== 1) {
      // It belongs to a call that was given up here: the client has to call again.
      this.sendByMoss("welcome", { ...this.lives, call, known: false });
      return false;
    }
    if (this.line) this.#endedCalls = [this.line.call, ...this.#endedCalls].slice(0, ENDED_CALLS);
    try {
      this.makeLine(call, { polite: false, iceServers: this.#lastServers });
    } catch (error) {
      this.emit("problem", { code: "call", message: messageOf(error) });
      return false;
    }
    return true;
  }

  /** Each medium causes an event of its own, so it counts as a packet. @param {any} payload */
  #affords(payload) {
    return this.#packets.takes(Array.isArray(payload?.media) ? 1 + payload.media.length : 1) || this.#isFlood("packets");
  }

  #affordsOffer() {
    return this.#offers.takes() || this.#isFlood("calls");
  }

  /** @param {string} what */
  #isFlood(what) {
    if (this.#sinceFlood >= FLOOD_AGAIN) this.emit("problem", { code: "flood", message: `Too many ${what}: some are dropped.` });
    this.#sinceFlood = 0;
    return false;
  }

  /** @param {unknown} hello @param {unknown} at */
  #change(hello, at) {
    if (typeof at === "number") this.#saidAt = at;
    if (JSON.stringify(hello) === JSON.stringify(this.#hello)) return;
    this.#hello = hello;
    this.emit("hello", hello);
  }

  #servers() {
    if (Date.now() >= this.#renewAt) this.#iceServers = undefined;
    return (this.#iceServers ??= this.#ask());
  }

  async #ask() {
    this.#renewAt = Infinity;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("iceServers gave no list within ten seconds")), SERVERS_WITHIN);
    });
    try {
      const iceServers = /** @type {RTCIceServer[]} */ (await Promise.race([this.#host.iceServers(this), late]));
      if (!Array.isArray(iceServers)) throw new TypeError("iceServers gave no list");
      const expiry = expiryOf(iceServers);
      this.#lastServers = iceServers;
      if (expiry !== undefined) this.#renewAt = Date.now() + Math.max((expiry - Date.now()) * 0.8, RENEW_AT_LEAST);
    } catch (error) {
      this.#renewAt = Date.now() + SERVERS_WITHIN; // The previous list is better than none.
      this.emit("problem", { code: "ice-servers", message: messageOf(error) });
    } finally {
      clearTimeout(timer);
    }
    return this.#lastServers;
  }

  /** Gives both sides new credentials before the old ones expire. ICE is not restarted: the next restart uses them. */
  async #renew() {
    this.#iceServers = this.#ask();
    const iceServers = await this.#iceServers;
    if (!this.isHere) return;
    this.line?.setServers(iceServers);
    const welcome = { ...this.lives, iceServers, wait: 0 };
    if (!this.sendByMoss("welcome", welcome)) this.line?.send("welcome", welcome);
  }
}
