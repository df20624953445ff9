/**
 * Calls `tick` about once a second with the milliseconds since the last time, two seconds at
 * most: a frozen page or a sleeping machine could receive nothing in the meantime, so that time does
 * not count. In a hidden page browsers may tick once a minute: there, too, most of the time does not count.
 * Returns a function that ends this.
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
