/**
 * Tells events to those who listen by `on`. It uses no DOM, so it works in Node, too.
 *
 * @template {Record<string, any>} Events What is told by which name.
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<{ handler: (detail: any) => unknown }>>} */
  #listeners = new Map();

  /**
   * Has `handler` called each time. A handler that fails is reported (`reportError`, or
   * `console.error`) and ends nothing.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(detail: Events[Name]) => unknown} handler
   * @returns {() => void} Takes the handler off again.
   */
  on(name, handler) {
    if (typeof handler !== "function") throw new TypeError(`the handler of "${String(name)}" is not a function`);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    const listener = { handler }; // The same function may be there twice; each goes by itself.
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /**
   * For classes that extend this one. A "problem" that nobody hears goes to the console.
   *
   * @protected
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} detail
   */
  emit(name, detail) {
    const listeners = this.#listeners.get(name);
    if (name === "problem" && !listeners?.size) console.warn(`moss: ${detail.message} (${detail.code})`);
    // A copy: who is added by a handler hears the next event, not this one.
    for (const listener of [...(listeners ?? [])]) if (listeners?.has(listener)) call(listener.handler, detail);
  }
}

/** @param {(detail: any) => unknown} handler @param {unknown} detail */
function call(handler, detail) {
  try {
    const result = handler(detail);
    // An async handler's failure would end a program in Node.
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
