/**
 * When a client's line is mended, and how: one that was up is restarted, and called anew only if
 * that does not help; one that rings too long is called anew, later each time. It does nothing
 * itself. Only time in which there is a master counts, as nothing can be mended without.
 */

// All in milliseconds.
const RESTART_AFTER = 4000; // ICE itself mends what is shorter.
const RESTART_WITHIN = 10_000;
const RING_AT_MOST = [15_000, 20_000]; // For the first calls in a row that nobody hears.
const RING_LONGEST = 30_000;
const TOLD_AGAIN_WITHIN = 30_000;
const CALL_AGAIN_AFTER = 2000; // However often the other side hangs up, or knows nothing of a call.

export class Mending {
  #sinceCall = 0;
  #ringing = 0;
  #rings = 0; // Calls in a row that were not heard.
  /** @type {number | undefined} */
  #sinceRestart;
  #sinceTold = Infinity; // That the master's end is down.

  /** Whether the last call is long enough ago for another one. */
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

  /** What is to be done for a line whose end here is up, when the master says that its own is not.
   *  @returns {"call" | "restart"} */
  told() {
    const again = this.#sinceTold < TOLD_AGAIN_WITHIN;
    this.#sinceTold = 0;
    return again && this.mayCall ? "call" : "restart";
  }

  /**
   * What is to be done for a line that is not up.
   * @param {{ ended: boolean, wasUp: boolean, failed: boolean }} line
   * @param {number} downFor
   * @param {number} elapsed since the last call
   * @returns {"call" | "restart" | undefined}
   */
  due(line, downFor, elapsed) {
    if (line.ended) return this.mayCall ? "call" : undefined; // No restart brings back what the other side has closed.
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
