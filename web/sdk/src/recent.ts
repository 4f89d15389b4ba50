import { keyOf, type Message } from './protocol.ts'

const CAPACITY = 100_000

/** The messages that came lately, so that nothing is taken for new when it comes again. */
export class Recent {
  /** For how long what was said can come again. */
  windowMs = 120_000
  readonly #saidAt = new Map<string | number, number>()

  /**
   * Says whether a message is new, and remembers it. A message that Redis lost may come again at another place.
   *
   * Time is that of the messages. By the clock of this client they may come again much later: after an outage.
   */
  take(message: Message): boolean {
    const { seq, was, at } = message
    this.#forgetBefore(at - this.windowMs)
    const key = keyOf(message)
    if (this.#saidAt.has(key) || this.#saidAt.has(seq) || (was !== undefined && this.#saidAt.has(was))) return false
    for (const name of [key, seq]) this.#saidAt.set(name, at)
    return true
  }

  #forgetBefore(oldest: number) {
    for (const [name, at] of this.#saidAt) {
      if (at >= oldest && this.#saidAt.size <= CAPACITY) return
      this.#saidAt.delete(name)
    }
  }
}
