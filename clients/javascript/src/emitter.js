/**
 * Events with handlers. It uses no DOM, so it works in Node, too.
 *
 * @template {Record<string, any>} Events The types of the events, by name.
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<{ handler: (detail: any) => unknown }>>} */
  #listeners = new Map();

  /**
   * Calls `handler` at each event of that name. An error of a handler is reported (by `reportError`
   * or `console.error`), and everything goes on.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(detail: Events[Name]) => unknown} handler
   * @returns {() => void} Removes the handler.
   */
  on(name, handler) {
    if (typeof handler !== "function") throw new TypeError(`the handler of "${String(name)}" is not a function`);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    const listener = { handler }; // The same function may be added twice, and each is removed separately.
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /**
   * For classes that extend this one. A "problem" without a handler is written to the console.
   *
   * @protected
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} detail
   */
  emit(name, detail) {
    const listeners = this.#listeners.get(name);
    if (name === "problem" && !listeners?.size) console.warn(`moss: ${detail.message} (${detail.code})`);
    // A copy: a handler that is added now gets the next event, not this one.
    for (const listener of [...(listeners ?? [])]) if (listeners?.has(listener)) call(listener.handler, detail);
  }
}

/** @param {(detail: any) => unknown} handler @param {unknown} detail */
function call(handler, detail) {
  try {
    const result = handler(detail);
    // An unhandled rejection would end a program in Node.
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}

/** @param {unknown} error */
function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else console.error(error);
}
