/**
 * Numbered messages: each arrives once and in order, whichever path they take.
 *
 * The sender keeps each message until it is acknowledged. When the path changed, or nothing was
 * acknowledged for a while, it sends all of them again. The receiver takes only the next number.
 * This module knows neither lines nor moss: its owner passes it a function that sends.
 */

import { Budget } from "./budget.js";

/** Bytes of JSON: of all messages kept for the other side, and of one message (each SCTP accepts that). */
export const KEPT_BYTES = 1_048_576;
export const MESSAGE_BYTES = 60_000;

/** Messages in flight: limits how many are sent again at once when a path broke. */
const ON_THE_WAY = 256;
/** Stays below a master's limit for one client (2,000 packets at once, 500 more each second), also after a long outage. */
const RATE = { most: 1000, more: 400 };
const ACK_WITHIN = 200; // Milliseconds.
const ACK_EVERY = 16; // Messages.
const AGAIN_AFTER = 3000; // Milliseconds, doubled each time: repeating makes a slow path slower.
const AGAIN_AT_MOST = 24_000;

/** Sends a packet. Returns false if there is no path now.
 *  @typedef {(type: "message" | "ack", payload: { n: number, data?: unknown }) => boolean} Transmit */

const utf8 = new TextEncoder();

export class Messages {
  /** @type {{ n: number, data: unknown, size: number, sent: boolean }[]} Not acknowledged, the oldest first. */
  #kept = [];
  #bytes = 0;
  #onTheWay = 0; // How many of them are in flight, from the first.
  #budget = new Budget(RATE);
  #last = 0; // The number of our last message.
  #heard = 0; // The number of their last message.
  #owed = 0; // How many of theirs we have not acknowledged.
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ack;
  #waited = 0; // Milliseconds without a new acknowledgement.
  #patience = AGAIN_AFTER;
  /** @type {Transmit} */
  #transmit = () => false;
  /** @type {(data: unknown) => void} */
  #deliver = () => {};

  /**
   * Sets the owner's functions.
   * @param {Transmit} transmit
   * @param {(data: unknown) => void} deliver
   */
  belongTo(transmit, deliver) {
    this.#transmit = transmit;
    this.#deliver = deliver;
  }

  /**
   * Sends a message now, or as soon as there is a path. Returns false if too much is kept already.
   * Throws a TypeError for what is not JSON, and a RangeError for what is too long.
   * @param {unknown} data
   */
  send(data) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError("only JSON can be sent");
    const size = utf8.encode(text).length;
    if (size > MESSAGE_BYTES) throw new RangeError(`a message has at most ${MESSAGE_BYTES} bytes as JSON, not ${size}`);
    if (this.#bytes + size > KEPT_BYTES) return false;
    // A copy: what the application does to its object later must not change what is sent again.
    const message = { n: ++this.#last, data: JSON.parse(text), size, sent: false };
    this.#kept.push(message);
    this.#bytes += size;
    this.#go();
    return true;
  }

  /** Bytes that the other side has not acknowledged. */
  get keptBytes() {
    return this.#bytes;
  }

  /** Sends again all that may be lost: there is a path, perhaps a new one. */
  flush() {
    this.#waited = this.#onTheWay = 0;
    this.#go();
    if (this.#heard) this.#acknowledge();
  }

  /** @param {unknown} payload what a `message` carries */
  receive(payload) {
    const { n, data } = /** @type {{ n?: unknown, data?: unknown }} */ (payload ?? {});
    if (typeof n !== "number" || !Number.isSafeInteger(n) || n > this.#heard + 1) return; // After a gap: the sender repeats them all.
    const isNew = n === this.#heard + 1;
    if (isNew) this.#heard = n;
    this.#owed++;
    if (!isNew || this.#owed >= ACK_EVERY) this.#acknowledge();
    else this.#ack ??= setTimeout(() => this.#acknowledge(), ACK_WITHIN);
    if (isNew) this.#deliver(data);
  }

  /** @param {unknown} payload what an `ack` carries */
  acknowledged(payload) {
    const { n } = /** @type {{ n?: unknown }} */ (payload ?? {});
    if (typeof n !== "number" || !Number.isSafeInteger(n) || n > this.#last) return;
    // In one call: removing them one by one takes seconds after minutes without an acknowledgement.
    const gone = this.#kept.splice(0, Math.max(n - (this.#last - this.#kept.length), 0));
    if (gone.length) {
      for (const { size } of gone) this.#bytes -= size;
      this.#onTheWay = Math.max(this.#onTheWay - gone.length, 0);
      this.#waited = 0;
      this.#patience = AGAIN_AFTER;
    }
    this.#go();
  }

  /** Sends all again, and returns true, if nothing was acknowledged for too long.
   *  @param {number} elapsed milliseconds since the last call */
  tick(elapsed) {
    this.#budget.tick(elapsed);
    if (!this.#kept.length) return false;
    this.#go();
    this.#waited += elapsed;
    if (this.#waited < this.#patience) return false;
    this.#patience = Math.min(this.#patience * 2, AGAIN_AT_MOST);
    this.flush();
    return true;
  }

  /** Starts again with a new page on the other side, which gets only what was never sent before. */
  reset() {
    this.stop();
    this.#kept = this.#kept.filter(({ sent }) => !sent);
    this.#bytes = this.#onTheWay = 0;
    this.#last = this.#heard = 0;
    for (const message of this.#kept) {
      message.n = ++this.#last;
      this.#bytes += message.size;
    }
  }

  stop() {
    clearTimeout(this.#ack);
    this.#ack = undefined;
    this.#owed = 0;
  }

  #go() {
    while (!this.#budget.isSpent && this.#onTheWay < Math.min(this.#kept.length, ON_THE_WAY)) {
      const message = /** @type {{ n: number, data: unknown, sent: boolean }} */ (this.#kept[this.#onTheWay]);
      if (!this.#transmit("message", { n: message.n, data: message.data })) return;
      message.sent = true;
      this.#budget.takes();
      this.#onTheWay++;
    }
  }

  #acknowledge() {
    this.stop();
    this.#transmit("ack", { n: this.#heard });
  }
}
