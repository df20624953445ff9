/** A rate limit: `most` at once, and `more` each second. */
export class Budget {
  #most;
  #more;
  #left;

  /** @param {{ most: number, more: number }} limits */
  constructor({ most, more }) {
    this.#most = this.#left = most;
    this.#more = more;
  }

  get isSpent() {
    return this.#left < 1;
  }

  /** Takes the amount; returns whether that much was left. */
  takes(amount = 1) {
    const rest = this.#left - amount;
    this.#left = Math.max(rest, 0);
    return rest >= 0;
  }

  /** @param {number} elapsed milliseconds since the last call */
  tick(elapsed) {
    this.#left = Math.min(this.#left + (this.#more * elapsed) / 1000, this.#most);
  }
}
