/** So many may go out unanswered, and one more after each interval: less than a server grants unless it is told to be strict. */
const BURST = 10
const INTERVAL_MS = 100

/**
 * How fast messages go out on one connection.
 *
 * What goes out behind a message that is refused overtakes it. So nothing goes out unanswered that a server might refuse: beyond the burst it
 * is one at a time, and once the server has refused one, with as much time between them as it asked for. Its clock is one that nobody sets.
 */
export class Pace {
  #burst = BURST
  #tokens = BURST
  #spacingMs = 0
  /** When the last one went out, and how long after the one before it. */
  #at = performance.now()
  #gapMs = 0

  /** How long until the next one may go, in milliseconds. `undefined` while that takes an answer first. */
  wait(unanswered: number): number | undefined {
    if (unanswered > 0 && this.#left() < 1) return undefined
    return Math.max(0, this.#at + this.#spacingMs - performance.now())
  }

  take() {
    const now = performance.now()
    this.#tokens = Math.max(0, this.#left() - 1)
    this.#gapMs = now - this.#at
    this.#at = now
  }

  /** The server had too much to do. From now on it is one at a time. */
  slow() {
    this.#burst = 0
  }

  /** It was too fast by this much. */
  space(ms: number) {
    this.slow()
    this.#spacingMs = Math.max(this.#spacingMs, this.#gapMs + ms)
  }

  #left(): number {
    return Math.min(this.#burst, this.#tokens + (performance.now() - this.#at) / INTERVAL_MS)
  }
}
