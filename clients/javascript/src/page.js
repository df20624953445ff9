/**
 * Calls `left` as the page goes, and `back` when the browser shows it again out of its cache for
 * "back" and "forward". Returns a function that ends it. Without a page it does nothing.
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
