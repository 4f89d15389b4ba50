const FIRST_MS = 500
const CAP_MS = 20_000

/** Full jitter: anything up to a bound that doubles with every failure. */
export class Backoff {
  #failures = 0
  readonly #random: () => number

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  next(): number {
    const bound = Math.min(CAP_MS, FIRST_MS * 2 ** this.#failures)
    this.#failures += 1
    return Math.round(this.#random() * bound)
  }

  reset() {
    this.#failures = 0
  }
}
