import { keyOf, type Message } from './protocol.ts'

const CAPACITY = 100_000

/** The messages that came lately, so that nothing is taken for new when it comes again. */
export class Recent {
  /** How long anything can come again. */
  windowMs = 120_000
  readonly #cameAt = new Map<string | number, number>()

  /** Says whether a message is new, and remembers it. A message that Redis lost may come again at another place. */
  take({ from, id, seq, was }: Message): boolean {
    this.#forget()
    const key = keyOf({ from, id })
    if (this.#cameAt.has(key) || this.#cameAt.has(seq) || (was !== undefined && this.#cameAt.has(was))) return false
    for (const name of [key, seq]) this.#cameAt.set(name, Date.now())
    return true
  }

  #forget() {
    const oldest = Date.now() - this.windowMs
    for (const [name, at] of this.#cameAt) {
      if (at >= oldest && this.#cameAt.size <= CAPACITY) return
      this.#cameAt.delete(name)
    }
  }
}
