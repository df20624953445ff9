import { Target } from "./target.js";

/**
 * One life of a page. The timers, sockets and peer connections that its code makes belong to it, and
 * end with it.
 */
export class Page {
  alive = true;
  frozen = false; // Its code does not run, but its connections go on.
  offline = false; // No packets get through, in either direction.
  address = 0; // Changes when it moves to another network.
  held = []; // Events that wait until it runs again.
  timers = new Map(); // setTimeout and setInterval.
  sockets = new Set();
  connections = new Set(); // RTCPeerConnections.
  errors = [];
  warnings = [];

  /** `host` is the device that it runs on: blocks of the network are between devices. */
  constructor(world, name, { storage = new Storage(), host = name } = {}) {
    this.world = world;
    this.name = name;
    this.host = host;
    this.storage = storage;
    this.window = new Target(this);
    this.document = new Target(this);
    this.document.visibilityState = "visible";
    this.document.hidden = false;
    this.location = new URL("http://box:8080/client.html");
  }

  fail(error) {
    this.errors.push(error);
    this.world.log(this.name, "ERROR", error?.stack ?? error);
  }

  /** Runs code of this page as the next event. */
  soon(code) {
    this.world.after(0, this, code);
  }

  /** Runs code of this page now. To be called only within an event: otherwise its promises would belong to no page. */
  run(code) {
    if (!this.alive) return undefined;
    const before = this.world.current;
    this.world.current = this;
    try {
      return code();
    } catch (error) {
      this.fail(error);
      return undefined;
    } finally {
      this.world.current = before;
    }
  }

  freeze() {
    this.frozen = true;
  }

  thaw() {
    this.frozen = false;
    for (const event of this.held.splice(0)) this.world.again(event);
  }

  /** The user closes it, with the event `pagehide`; or, if `torn`, it is killed, and its connections end without a Close. */
  close({ torn = false } = {}) {
    if (!this.alive) return;
    if (!torn && !this.frozen)
      this.run(() => {
        this.window.dispatch("beforeunload");
        this.window.dispatch("pagehide", { persisted: false });
      });
    for (const socket of [...this.sockets]) socket.tear(torn);
    for (const connection of [...this.connections]) connection.tear(torn);
    this.alive = false;
    this.timers.clear();
    this.held = [];
  }
}

/** A fake sessionStorage. A duplicated tab starts with a copy. */
export class Storage {
  #items;

  constructor(items = []) {
    this.#items = new Map(items);
  }

  getItem(name) {
    return this.#items.get(String(name)) ?? null;
  }

  setItem(name, value) {
    this.#items.set(String(name), String(value));
  }

  removeItem(name) {
    this.#items.delete(String(name));
  }

  copy() {
    return new Storage(this.#items);
  }
}
