/**
 * One life of a client's page, as its master sees it: who it is, where it is known to moss, the
 * line that it called, and what it may cost. The client calls and mends; a member answers.
 *
 * All that a client sends is a stranger's: what is wrong or too much is dropped, told as a
 * `problem`, and harms this member alone.
 */

import { Budget } from "./budget.js";
import { messageOf } from "./line.js";
import { bytesOf, isHello, isName } from "./names.js";
import { Peer } from "./peer.js";
import { expiryOf } from "./turn.js";

// All in milliseconds.
const GONE_AFTER = 30_000;
const ASK_AFTER = 8000; // Whoever knows that its line is down is heard before.
const ASK_EVERY = 10_000;
const SILENT_AT_MOST = 300_000; // For who is there as far as moss knows, but says nothing.
const SERVERS_WITHIN = 10_000;
const RENEW_AT_LEAST = 5000; // However soon credentials end.
const STALE_AT_MOST = 300_000; // TCP gives up by then. Above that it is a clock that was set back.
const FLOOD_AGAIN = 10_000; // Told once in so long.

/** With its envelope that is what moss takes by default; a longer packet would end the master's connection. */
const PACKET_BYTES = 262_000;

const PACKETS = { most: 2000, more: 500 };
const OFFERS = { most: 10, more: 1 };
const DATAGRAMS = { most: 2000, more: 1000 };
const ENDED_CALLS = 16; // Remembered, so that a late offer of one is not a new call.

/** @typedef {"goodbye" | "gone" | "replaced" | "kicked" | "stopped"} Why */
/** @typedef {import("./peer.js").PeerEvents & { hello: any, left: Why }} MemberEvents */

/**
 * What a member asks of its master.
 * @typedef {object} Host
 * @property {string} session
 * @property {boolean} isReady whether moss knows it as the master
 * @property {(type: string, payload: unknown, id: string) => boolean} send
 * @property {() => number} nextSlot milliseconds before the next new call should come
 * @property {(member: Member) => Promise<RTCIceServer[]>} iceServers
 * @property {(member: Member, why: Why, messages: import("./messages.js").Messages) => void} left
 * @property {(member: Member, reason: string) => void} kick sends it away by moss, now or when it comes back
 */

/** @extends {Peer<MemberEvents>} */
export class Member extends Peer {
  /** The id that moss gave its connection; undefined while it has none. @type {string | undefined} */
  id;
  /** Whether it is still one of the master's. */
  isHere = true;

  #host;
  /** @type {any} */
  #hello;
  /** @type {Promise<RTCIceServer[]> | undefined} */
  #iceServers;
  /** Those that came last. @type {RTCIceServer[]} */
  #lastServers = [];
  #renewAt = Infinity; // By the clock: credentials end while a machine sleeps.
  /** @type {string[]} */
  #endedCalls = [];

  #saidAt = -Infinity; // By its own clock.
  #silent = 0; // Since it was heard, or its line was up.
  #absent = 0; // Of that, without an id.
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
    /** Who it is: outlives ids, reloads of its page, and restarts of moss and of the master. Whoever knows it can take its place: show it to nobody. */
    this.key = key;
    /** One load of its page. */
    this.life = life;
    this.#hello = hello;
  }

  /** What it says of itself: any JSON. It is a stranger's. */
  get hello() {
    return this.#hello;
  }

  /** As a client's; false also when it has left. @param {unknown} data */
  send(data) {
    return this.isHere && super.send(data);
  }

  /** Sends it away for good: its page stops. It may come back by a reload.
   *  @param {string} [reason] for the person in front of it */
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

  /** Tells both ways, since one of them may be dead. @internal @param {string} type @param {object} payload */
  tell(type, payload) {
    this.line?.send(type, payload);
    this.sendByMoss(type, payload);
  }

  /** Whether it was said before what was heard last: a connection that its page gave up may still deliver, of a
   *  page before a reload too. All pages with a key have one clock. @internal @param {{ at?: unknown }} member */
  isStale({ at }) {
    return typeof at === "number" && at < this.#saidAt && this.#saidAt - at < STALE_AT_MOST;
  }

  /** It said who it is, perhaps under another id. @internal
   *  @param {{ hello?: unknown, call?: unknown, fallback?: unknown, at?: unknown }} member @param {boolean} isElsewhere */
  async greet({ hello, call, fallback, at }, isElsewhere) {
    this.#silent = 0;
    if (!this.#affords(undefined)) return;
    this.fallback = fallback === true;
    this.#change(hello, at);
    const named = isName(call) ? call : undefined; // What is sent back must not be longer than it came.
    const isKnown = this.line !== undefined && named === this.line.call && !this.line.ended;
    const wait = this.line ? 0 : this.#host.nextSlot();
    const iceServers = await this.#servers();
    if (!this.isHere) return;
    const down = (isKnown && this.#isBroken) || undefined;
    this.sendByMoss("welcome", { ...this.lives, iceServers, wait, call: named, known: named && isKnown, down });
    if (isElsewhere) this.repeat();
    else this.look();
  }

  /** A packet of it by moss. @internal @param {string} type @param {any} payload */
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

  /** What is the same by both ways. @param {string} type @param {any} payload */
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
    this.id = undefined; // Nothing is sent to it any more.
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

  /** The client's own end may well be up: one that has another address may send on the old line, and hear nothing. */
  get #isBroken() {
    return this.line !== undefined && this.line.wasUp && !this.line.up;
  }

  /** @param {any} offer */
  #mayCall(offer) {
    const { call } = offer ?? {};
    if (!isName(call) || this.#endedCalls.includes(call) || !this.#affordsOffer()) return false;
    if (call === this.line?.call) return true;
    if (offer.n !== 1) {
      // More of a call that was given up here: the client must call anew.
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

  /** Each of its media is told by itself, and counts as a packet. @param {any} payload */
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
      this.#renewAt = Date.now() + SERVERS_WITHIN; // Those of before are better than none.
      this.emit("problem", { code: "ice-servers", message: messageOf(error) });
    } finally {
      clearTimeout(timer);
    }
    return this.#lastServers;
  }

  /** New servers before the old ones end, for both sides' next look for a path. Nothing is restarted. */
  async #renew() {
    this.#iceServers = this.#ask();
    const iceServers = await this.#iceServers;
    if (!this.isHere) return;
    this.line?.setServers(iceServers);
    const welcome = { ...this.lives, iceServers, wait: 0 };
    if (!this.sendByMoss("welcome", welcome)) this.line?.send("welcome", welcome);
  }
}
