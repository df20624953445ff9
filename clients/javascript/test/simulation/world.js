import { Page } from "./page.js";
import { Random } from "./random.js";

const REAL = { setImmediate, setTimeout, clearTimeout };
const START = Date.UTC(2030, 0, 1); // The value of Date.now() at the start.
const NAMES = [
  "setTimeout", "clearTimeout", "setInterval", "clearInterval", "crypto", "performance", "fetch", "reportError",
  "addEventListener", "removeEventListener", "document", "location", "sessionStorage", "navigator", "self",
];

/**
 * Virtual time, and its events. They run one after the other, each to its end: until none of its
 * promises has a pending job. So all code that runs during an event belongs to one page, `current`, and
 * so does what that code makes, although all pages share this process.
 */
export class World {
  now = 0;
  current = undefined;
  pages = [];
  changed = []; // Called when the network changes.
  #queue = new Heap();
  #order = 0;
  #numbers = 0;
  #undo = [];

  /** `trace` gets a line for each event. */
  constructor(seed, { trace } = {}) {
    this.seed = seed;
    this.random = new Random(seed); // For the events.
    this.chance = new Random(seed + 1e6); // For random numbers of the pages, and small delays.
    this.trace = trace;
  }

  log(...words) {
    this.trace?.(`${(this.now / 1000).toFixed(3).padStart(9)} ${words.join(" ")}`);
  }

  page(name, options) {
    const page = new Page(this, name, options);
    this.pages.push(page);
    return page;
  }

  /** A new number. */
  number() {
    return ++this.#numbers;
  }

  /** Runs `job` after this many milliseconds, as code of `page`. Without a page, `job` must not call a page's code. */
  after(milliseconds, page, job) {
    const event = { at: this.now + Math.max(0, milliseconds), order: this.#order++, page, job };
    this.#queue.push(event);
    return event;
  }

  again(event) {
    event.at = Math.max(this.now, event.at);
    event.order = this.#order++;
    this.#queue.push(event);
  }

  cancel(event) {
    if (event) event.job = undefined;
  }

  /** Runs all events of the next milliseconds. */
  async run(milliseconds) {
    const end = this.now + milliseconds;
    await settled();
    while (this.#queue.first?.at <= end) {
      const event = this.#queue.pop();
      this.now = Math.max(this.now, event.at);
      await this.#happen(event);
    }
    this.now = end;
  }

  /** Runs code of a page now, to its end. */
  async do(page, job) {
    await this.#happen({ page, job });
  }

  async #happen(event) {
    const { page, job } = event;
    if (!job || page?.alive === false) return;
    if (page?.frozen) return void page.held.push(event);
    if (!page) return void job();
    this.current = page;
    try {
      job();
    } catch (error) {
      page.fail(error);
    }
    await settled();
    this.current = undefined;
  }

  networkChanged() {
    for (const tell of this.changed) tell();
  }

  /** Replaces this process's timers, clock and random numbers with those of this world, until `restore()`. */
  install() {
    const world = this;
    const timer = (repeat) => (code, milliseconds = 0, ...parameters) => world.#timer(repeat, code, milliseconds, parameters);
    const stop = (id) => world.#stopTimer(id);
    const getRandomValues = (bytes) => {
      const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let i = 0; i < view.length; i++) view[i] = world.chance.whole(0, 255);
      return bytes;
    };
    const values = {
      setTimeout: timer(false),
      setInterval: timer(true),
      clearTimeout: stop,
      clearInterval: stop,
      crypto: { getRandomValues, randomUUID: () => world.chance.hex(32) },
      performance: { now: () => world.now },
      fetch: (address) => world.fetch(address),
      reportError: (error) => world.current?.fail(error),
      addEventListener: (...of) => world.current?.window.addEventListener(...of),
      removeEventListener: (...of) => world.current?.window.removeEventListener(...of),
      document: () => world.current?.document,
      location: () => world.current?.location,
      sessionStorage: () => world.current?.storage,
      navigator: { onLine: true },
      self: globalThis,
    };
    for (const name of NAMES) {
      const getter = ["document", "location", "sessionStorage"].includes(name);
      this.#replace(globalThis, name, getter ? { get: values[name] } : { value: values[name], writable: true });
    }
    this.#replace(Date, "now", { value: () => START + Math.floor(world.now), writable: true });
    this.#replace(Math, "random", { value: () => world.chance.next(), writable: true });
    this.#replace(AbortSignal, "timeout", { value: () => new AbortController().signal, writable: true });
    for (const kind of ["warn", "error"])
      this.#replace(console, kind, { value: (...words) => world.#warn(kind, words), writable: true });
    const escaped = (error) => {
      if (world.current) return world.current.fail(error);
      throw error;
    };
    process.on("unhandledRejection", escaped);
    process.on("uncaughtException", escaped);
    this.#undo.push(() => {
      process.off("unhandledRejection", escaped);
      process.off("uncaughtException", escaped);
    });
  }

  restore() {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
  }

  /** Set by the fake moss: whether something answers at its address. */
  fetch() {
    return Promise.reject(new TypeError("Failed to fetch"));
  }

  #replace(object, name, descriptor) {
    const before = Object.getOwnPropertyDescriptor(object, name);
    Object.defineProperty(object, name, { configurable: true, enumerable: true, ...descriptor });
    this.#undo.push(() => {
      if (before) Object.defineProperty(object, name, before);
      else delete object[name];
    });
  }

  #warn(kind, words) {
    this.log(this.current?.name, `console.${kind}`, ...words);
    this.current?.warnings.push(words.map(String).join(" "));
    if (kind === "error") this.current?.fail(words.find((word) => word instanceof Error) ?? new Error(words.join(" ")));
  }

  #timer(repeat, code, milliseconds, parameters) {
    const page = this.current;
    if (!page) return 0; // A pending job of a page that was just closed.
    const id = this.number();
    const pause = Math.max(1, Number(milliseconds) || 0);
    const tick = () => {
      if (!page.timers.has(id)) return;
      if (repeat) page.timers.set(id, this.after(pause, page, tick));
      else page.timers.delete(id);
      code(...parameters);
    };
    page.timers.set(id, this.after(pause, page, tick));
    return id;
  }

  #stopTimer(id) {
    for (const page of this.pages) {
      if (!page.timers.has(id)) continue;
      this.cancel(page.timers.get(id));
      page.timers.delete(id);
    }
  }
}

/** Node runs all promise jobs before the next immediate. */
function settled() {
  return new Promise(REAL.setImmediate);
}

/** A binary heap of events by time, then by the order in which they were made. */
class Heap {
  #items = [];

  get first() {
    return this.#items[0];
  }

  push(event) {
    const items = this.#items;
    let i = items.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(items[i], items[parent])) break;
      [items[i], items[parent]] = [items[parent], items[i]];
      i = parent;
    }
  }

  pop() {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length) {
      items[0] = last;
      this.#sink(0);
    }
    return top;
  }

  #sink(i) {
    const items = this.#items;
    for (;;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < items.length && before(items[child], items[least])) least = child;
      if (least === i) return;
      [items[i], items[least]] = [items[least], items[i]];
      i = least;
    }
  }
}

function before(a, b) {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
