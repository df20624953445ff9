/**
 * Numbered messages: each arrives once and in order, over whatever way there is just now.
 *
 * The sender keeps each until it is acknowledged, and sends them again from the first when the
 * way changed, or when nothing was acknowledged for a while. The receiver takes only the next
 * number. It knows nothing of lines and of moss: whoever owns it gives it a way.
 */

import { Budget } from "./budget.js";

/** Bytes of JSON: all that is kept for the other side, and one message (every SCTP takes that). */
export const KEPT_BYTES = 1_048_576;
export const MESSAGE_BYTES = 60_000;

/** Messages on the way at once: what was lost on a way that broke is not all sent again in one go. */
const ON_THE_WAY = 256;
/** A master takes 2,000 packets of a client at once, and 500 more each second: who was away for long must not be a flood. */
const RATE = { most: 1000, more: 400 };
const ACK_WITHIN = 200; // Milliseconds.
const ACK_EVERY = 16; // Messages.
const AGAIN_AFTER = 3000; // Milliseconds; twice as long each time, since repeating slows a slow way down.
const AGAIN_AT_MOST = 24_000;

/** False: there is no way now.
 *  @typedef {(type: "message" | "ack", payload: { n: number, data?: unknown }) => boolean} Transmit */

const utf8 = new TextEncoder();

export class Messages {
  /** @type {{ n: number, data: unknown, size: number, sent: boolean }[]} Not acknowledged, the oldest first. */
  #kept = [];
  #bytes = 0;
  #onTheWay = 0; // How many of them are, from the first.
  #budget = new Budget(RATE);
  #last = 0; // The number of the last message of ours.
  #heard = 0; // That of the last one of theirs.
  #owed = 0; // How many of theirs are not acknowledged.
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ack;
  #waited = 0; // Milliseconds without a new acknowledgement.
  #patience = AGAIN_AFTER;
  /** @type {Transmit} */
  #transmit = () => false;
  /** @type {(data: unknown) => void} */
  #deliver = () => {};

  /**
   * Gives it to its owner.
   * @param {Transmit} transmit
   * @param {(data: unknown) => void} deliver
   */
  belongTo(transmit, deliver) {
    this.#transmit = transmit;
    this.#deliver = deliver;
  }

  /**
   * Sends it, now or as soon as there is a way; false if too much is kept already.
   * Throws a TypeError for what is no JSON, and a RangeError for what is too long.
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

  /** There is a way, perhaps a new one: all that may be lost goes again. */
  flush() {
    this.#waited = this.#onTheWay = 0;
    this.#go();
    if (this.#heard) this.#acknowledge();
  }

  /** @param {unknown} payload what a `message` carries */
  receive(payload) {
    const { n, data } = /** @type {{ n?: unknown, data?: unknown }} */ (payload ?? {});
    if (typeof n !== "number" || !Number.isSafeInteger(n) || n > this.#heard + 1) return; // After a gap: they all come again.
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
    // All at once: one by one takes seconds where a game has sent for minutes to who did not answer.
    const gone = this.#kept.splice(0, Math.max(n - (this.#last - this.#kept.length), 0));
    if (gone.length) {
      for (const { size } of gone) this.#bytes -= size;
      this.#onTheWay = Math.max(this.#onTheWay - gone.length, 0);
      this.#waited = 0;
      this.#patience = AGAIN_AFTER;
    }
    this.#go();
  }

  /** Whether nothing was acknowledged for too long: then all goes again.
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

  /** Another page is at the other end: it starts anew, and gets only what no page before it may have got. */
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
