/**
 * Calls `tick` about once a second with the milliseconds since the last time, two seconds at
 * most: a page that was frozen or a machine that slept could hear nobody meanwhile, so that
 * time counts for nothing. Little of it counts in a hidden page, too, where browsers may tick once
 * a minute. Returns a function that ends it.
 * @param {(elapsed: number) => void} tick
 */
export function everySecond(tick) {
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    const elapsed = Math.min(Math.max(now - last, 0), 2000); // A clock may be set back.
    last = now;
    tick(elapsed);
  }, 1000);
  return () => clearInterval(timer);
}
