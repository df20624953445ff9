/**
 * Calls `left` when the page is left, and `back` when the browser shows it again from its cache for
 * "back" and "forward". Returns a function that ends this. Without a page it does nothing.
 * @param {() => void} left
 * @param {() => void} back
 */
export function whenPageGoes(left, back) {
  const shown = (/** @type {PageTransitionEvent} */ { persisted }) => void (persisted && back());
  globalThis.addEventListener?.("pagehide", left);
  globalThis.addEventListener?.("pageshow", shown);
  return () => {
    globalThis.removeEventListener?.("pagehide", left);
    globalThis.removeEventListener?.("pageshow", shown);
  };
}
