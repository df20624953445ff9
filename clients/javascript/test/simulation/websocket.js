import { Target } from "./target.js";

const DEAD_AFTER = 40_000; // Twice MOSS_KEEPALIVE_SECONDS, in milliseconds.
const CLOSES_WITHIN = 20_000; // How long a browser waits for the other side's Close.

/** The WebSocket class for the pages of a world, connected to `moss`. */
export function webSocket(world, moss) {
  return class extends FakeWebSocket {
    constructor(address) {
      super(world, moss, address);
    }
  };
}

/** A WebSocket that follows the standard. Its messages arrive late and in order, or never if the network is down. */
class FakeWebSocket extends Target {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  CONNECTING = 0;
  OPEN = 1;
  CLOSING = 2;
  CLOSED = 3;
  readyState = 0;
  protocol = "";
  binaryType = "blob";
  bufferedAmount = 0;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #world;
  #page;
  #wire;

  constructor(world, moss, address) {
    const page = world.current;
    super(page);
    const url = new URL(address);
    if (!/^wss?:$/.test(url.protocol)) throw new DOMException("not ws: or wss:", "SyntaxError");
    this.url = url.href;
    this.#world = world;
    this.#page = page;
    page.sockets.add(this);
    this.#wire = new Wire(world, page, moss, this);
  }

  send(text) {
    if (this.readyState === 0) throw new DOMException("Still in CONNECTING state.", "InvalidStateError");
    if (this.readyState === 1) this.#wire.toMoss(String(text));
  }

  close(code, reason = "") {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
      throw new DOMException(`${code} is no code for a page to close with`, "InvalidAccessError");
    if (Buffer.byteLength(reason) > 123) throw new DOMException("the reason is too long", "SyntaxError");
    if (this.readyState >= 2) return;
    const opened = this.readyState === 1;
    this.readyState = 2;
    if (!opened) {
      this.#wire.cut();
      return void this.#world.after(0, this.#page, () => this.closed(1006, ""));
    }
    this.#wire.closeFromPage();
    this.#world.after(CLOSES_WITHIN, this.#page, () => this.closed(1006, ""));
  }

  /** The page has ended: the operating system closes the socket, if it can. */
  tear(torn) {
    if (this.readyState < 2) torn && this.#page.offline ? this.#wire.silence() : this.#wire.closeFromPage();
    this.readyState = 3;
  }

  opened() {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.dispatch("open");
  }

  received(data) {
    if (this.readyState === 1) this.dispatch("message", { data });
  }

  closed(code, reason) {
    if (this.readyState === 3) return;
    const failed = this.readyState === 0 || code === 1006;
    this.readyState = 3;
    this.#page.sockets.delete(this);
    if (failed) this.dispatch("error");
    this.dispatch("close", { code, reason, wasClean: code !== 1006 });
  }

  /** For tests that break the connection in the network. */
  get wire() {
    return this.#wire;
  }
}

/** The TCP connection of a WebSocket. Both directions keep their order. */
class Wire {
  #world;
  #page;
  #moss;
  #socket;
  #address;
  #broken = false;
  #silent = false;
  #inbound = { queue: [], last: 0 };
  #outbound = { queue: [], last: 0 };
  #lostSince;

  constructor(world, page, moss, socket) {
    this.#world = world;
    this.#page = page;
    this.#moss = moss;
    this.#socket = socket;
    this.#address = page.address;
    moss.wires.add(this);
    this.#out(() => moss.accept(this), () => this.#later(() => socket.closed(1006, "")));
  }

  get page() {
    return this.#page;
  }

  toMoss(text) {
    this.#out(() => this.#moss.receive(this, text));
  }

  /** The upgrade was answered. */
  open() {
    this.#in(() => this.#socket.opened());
  }

  toPage(text) {
    this.#in(() => this.#socket.received(text));
  }

  /** Delays what comes to the page from now on. */
  delay(milliseconds) {
    this.#inbound.last = Math.max(this.#inbound.last, this.#world.now + milliseconds);
  }

  /** moss closes. */
  closeFromMoss(code, reason = "") {
    this.#in(() => {
      this.#end();
      this.#socket.closed(code, reason);
    });
  }

  closeFromPage() {
    this.#out(() => {
      this.#moss.ended(this);
      if (!this.#page.alive) return this.#end();
      this.#in(() => {
        this.#end();
        this.#socket.closed(1000, "");
      });
    });
  }

  /** Both sides soon notice that the connection is broken. Bytes in flight are lost. */
  reset() {
    if (this.#broken) return;
    this.#end();
    this.#later(() => this.#socket.closed(1006, ""));
    this.#world.after(this.#delay(), undefined, () => this.#moss.ended(this));
  }

  /** There is no moss, or not any more: the page notices when it sends. */
  refuse() {
    this.#end();
    this.#later(() => this.#socket.closed(1006, ""));
  }

  /** The connection is dead, and neither side is notified: moss notices after its keepalive, the page when it sends. */
  silence() {
    if (this.#broken || this.#silent) return;
    this.#silent = true;
    this.#inbound.queue = [];
    this.#outbound.queue = [];
    this.#world.after(DEAD_AFTER, undefined, () => this.#moss.ended(this));
  }

  cut() {
    this.#end();
    this.#moss.ended(this);
  }

  #end() {
    this.#broken = true;
    this.#inbound.queue = [];
    this.#outbound.queue = [];
    this.#moss.wires.delete(this);
  }

  #later(job) {
    this.#world.after(this.#delay(), this.#page, job);
  }

  #delay() {
    return this.#world.chance.between(2, 40);
  }

  #out(job) {
    this.#carry(this.#outbound, { job, page: undefined });
  }

  #in(job) {
    this.#carry(this.#inbound, { job, page: this.#page });
  }

  /** Like TCP: a late message delays later ones, and all go on if the network is back in time. */
  #carry(way, { job, page }) {
    if (this.#broken || this.#silent) return;
    way.last = Math.max(way.last, this.#world.now + this.#delay());
    way.queue.push({ job, page, at: way.last });
    if (way.queue.length === 1) this.#next(way);
  }

  #next(way) {
    const [head] = way.queue;
    if (!head) return;
    this.#world.after(head.at - this.#world.now, undefined, () => this.#arrive(way, head));
  }

  #arrive(way, head) {
    if (way.queue[0] !== head) return;
    if (this.#page.address !== this.#address) return this.silence();
    if (this.#page.offline) return this.#wait(way, head);
    this.#lostSince = undefined;
    way.queue.shift();
    if (head.page) this.#world.after(0, head.page, head.job);
    else head.job();
    this.#next(way);
  }

  #wait(way, head) {
    this.#lostSince ??= this.#world.now;
    if (this.#world.now - this.#lostSince > DEAD_AFTER) return this.silence();
    this.#world.after(500, undefined, () => this.#arrive(way, head));
  }
}
