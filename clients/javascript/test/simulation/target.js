/** An EventTarget with `on…` attributes. Errors of handlers go to the page, as in a browser. */
export class Target {
  #handlers = new Map();
  #page;

  constructor(page) {
    this.#page = page;
  }

  addEventListener(type, handler, options = {}) {
    const all = this.#handlers.get(type) ?? new Map();
    this.#handlers.set(type, all);
    if (options.signal?.aborted || all.has(handler)) return;
    all.set(handler, options.once === true);
    options.signal?.addEventListener("abort", () => all.delete(handler));
  }

  removeEventListener(type, handler) {
    this.#handlers.get(type)?.delete(handler);
  }

  dispatch(type, fields = {}) {
    const event = { type, target: this, currentTarget: this, preventDefault() {}, stopPropagation() {}, ...fields };
    this.#call(this[`on${type}`], event);
    for (const [handler, once] of [...(this.#handlers.get(type) ?? [])]) {
      if (once) this.#handlers.get(type).delete(handler);
      this.#call(handler, event);
    }
  }

  dispatchEvent(event) {
    this.dispatch(event.type, event);
    return true;
  }

  get listeners() {
    return [...this.#handlers.values()].reduce((sum, all) => sum + all.size, 0);
  }

  #call(handler, event) {
    if (!handler) return;
    try {
      if (typeof handler === "function") handler.call(this, event);
      else handler.handleEvent(event);
    } catch (error) {
      this.#page.fail(error);
    }
  }
}
