/**
 * Decides when and how a client repairs its line. A line that was up gets an ICE restart, and a new
 * call only if that does not help. A call that never came up is repeated, after a longer wait each
 * time. Only time with a master counts, as nothing can be repaired without one.
 */

// All in milliseconds.
const RESTART_AFTER = 4000; // ICE itself recovers from shorter failures.
const RESTART_WITHIN = 10_000;
const RING_AT_MOST = [15_000, 20_000]; // For the first calls in a row that don't come up.
const RING_LONGEST = 30_000;
const TOLD_AGAIN_WITHIN = 30_000;
const CALL_AGAIN_AFTER = 2000; // Even if the other side closes calls, or does not know them.

export class Mending {
  #sinceCall = 0;
  #ringing = 0;
  #rings = 0; // Calls in a row that did not come up.
  /** @type {number | undefined} */
  #sinceRestart;
  #sinceTold = Infinity; // Milliseconds since the master said that its side is down.

  /** Whether the last call was long enough ago. */
  get mayCall() {
    return this.#sinceCall >= CALL_AGAIN_AFTER;
  }

  called() {
    this.#sinceCall = this.#ringing = 0;
    this.#sinceRestart = undefined;
  }

  restarted() {
    this.#sinceRestart ??= 0;
  }

  isUp() {
    this.#rings = 0;
    this.#sinceRestart = undefined;
  }

  /** Another master has come. */
  begin() {
    this.#rings = 0;
  }

  /** @param {number} elapsed milliseconds since the last call */
  tick(elapsed) {
    this.#sinceCall += elapsed;
    this.#sinceTold += elapsed;
  }

  /** What to do if this side of the line is up, and the master says that its own is down.
   *  @returns {"call" | "restart"} */
  told() {
    const again = this.#sinceTold < TOLD_AGAIN_WITHIN;
    this.#sinceTold = 0;
    return again && this.mayCall ? "call" : "restart";
  }

  /**
   * What to do for a line that is not up.
   * @param {{ ended: boolean, wasUp: boolean, failed: boolean }} line
   * @param {number} downFor
   * @param {number} elapsed since the last call
   * @returns {"call" | "restart" | undefined}
   */
  due(line, downFor, elapsed) {
    if (line.ended) return this.mayCall ? "call" : undefined; // A restart can't reopen what the other side has closed.
    if (!line.wasUp) return this.#ring(elapsed);
    if (this.#sinceRestart === undefined) return line.failed || downFor >= RESTART_AFTER ? "restart" : undefined;
    this.#sinceRestart += elapsed;
    return this.#sinceRestart >= RESTART_WITHIN ? "call" : undefined;
  }

  /** @param {number} elapsed */
  #ring(elapsed) {
    this.#ringing += elapsed;
    if (this.#ringing < (RING_AT_MOST[this.#rings] ?? RING_LONGEST)) return undefined;
    this.#rings++;
    return "call";
  }
}
