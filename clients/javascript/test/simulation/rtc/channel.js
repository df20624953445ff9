import { Target } from "../target.js";

const MOST_BUFFERED = 16 * 1024 * 1024;
const LARGEST = 256 * 1024;

/** An RTCDataChannel. `twin` is the same channel on the other side. */
export class Channel extends Target {
  readyState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = "arraybuffer";
  id = null;
  negotiated = false;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  twin;
  #connection;
  #queue = [];
  #last = 0;
  #ready = false; // Its page has got `open`: messages may be delivered.
  #early = [];

  constructor(connection, label, { ordered = true, maxRetransmits = null, maxPacketLifeTime = null, protocol = "" } = {}) {
    super(connection.page);
    this.#connection = connection;
    Object.assign(this, { label, ordered, maxRetransmits, maxPacketLifeTime, protocol });
  }

  get reliable() {
    return this.maxRetransmits === null && this.maxPacketLifeTime === null;
  }

  send(data) {
    if (this.readyState !== "open") throw new DOMException("RTCDataChannel.readyState is not 'open'", "InvalidStateError");
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.byteLength;
    if (bytes > LARGEST) throw new TypeError("The message is too large.");
    if (this.bufferedAmount + bytes > MOST_BUFFERED) throw new DOMException("The send queue is full.", "OperationError");
    const copy = typeof data === "string" ? data : new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, bytes).slice().buffer;
    if (!this.reliable) return this.#fling(copy);
    this.bufferedAmount += bytes;
    this.#enqueue({ data: copy, bytes });
  }

  close() {
    if (this.readyState === "closing" || this.readyState === "closed") return;
    if (this.readyState === "connecting") {
      this.readyState = "closed";
      return;
    }
    this.readyState = "closing";
    this.#enqueue({ close: true });
  }

  /** Delivers `open` to its page, and then early messages. */
  announce() {
    this.#connection.later(() => {
      if (this.#ready || !["connecting", "open"].includes(this.readyState)) return;
      this.readyState = "open";
      this.dispatch("open");
      this.#ready = true;
      for (const data of this.#early.splice(0)) this.#deliver(data);
    });
  }

  arrive(data) {
    this.#connection.later(() => (this.#ready ? this.#deliver(data) : this.#early.push(data)), 0);
  }

  /** The other side closed it, or the whole connection. */
  ended() {
    this.#queue = [];
    this.#connection.later(() => {
      if (this.readyState === "closed") return;
      this.readyState = "closed";
      this.dispatch("close");
    }, 0);
  }

  /** Its own connection was closed: there is no event. */
  torn() {
    this.readyState = "closed";
    this.#queue = [];
  }

  /** Messages sent before the connection is closed may still be delivered. */
  flush() {
    for (const { data } of this.#queue) if (data !== undefined) this.twin?.arrive(data);
  }

  /** Sends messages that have waited for the network. */
  pump() {
    const [head] = this.#queue;
    if (!head || head.going || !this.twin || !this.#connection.carries) return;
    head.going = true;
    const { world } = this.#connection;
    world.after(head.at - world.now, undefined, () => {
      head.going = false;
      if (this.#queue[0] !== head) return;
      if (!this.#connection.carries) return; // Lost, and sent again when the network is back.
      this.#queue.shift();
      this.#gone(head);
      this.pump();
    });
  }

  #gone({ data, bytes, close }) {
    if (close) {
      this.twin.ended();
      return this.ended();
    }
    this.twin.arrive(data);
    this.#connection.later(() => {
      const above = this.bufferedAmount > this.bufferedAmountLowThreshold;
      this.bufferedAmount -= bytes;
      if (above && this.bufferedAmount <= this.bufferedAmountLowThreshold) this.dispatch("bufferedamountlow");
    });
  }

  #enqueue(item) {
    this.#last = Math.max(this.#last, this.#connection.world.now + this.#connection.delay());
    this.#queue.push({ ...item, at: this.#last });
    this.pump();
  }

  #fling(data) {
    const { world } = this.#connection;
    if (!this.twin || !this.#connection.carries || world.chance.chance(0.02)) return;
    world.after(this.#connection.delay(), undefined, () => this.#connection.carries && this.twin.arrive(data));
  }

  #deliver(data) {
    if (this.readyState === "open" || this.readyState === "closing") this.dispatch("message", { data });
  }
}
