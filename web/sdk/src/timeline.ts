import type { Hops, Traced } from './hops.ts'
import { keyOf, placeOf, type Message } from './protocol.ts'

/** How much more than its bound a timeline may hold before it is cut back to it, as a part of the bound. */
const SLACK = 0.1

/** The messages of a room in the order of their places, each once. */
export class Timeline {
  #messages: Traced[] = []
  readonly #keys = new Set<string>()
  readonly #seqs = new Set<number>()

  get messages(): readonly Traced[] {
    return this.#messages
  }

  get oldest(): Message | undefined {
    return this.#messages[0]
  }

  get newest(): Message | undefined {
    return this.#messages.at(-1)
  }

  has(message: Message): boolean {
    return (
      this.#keys.has(keyOf(message)) ||
      this.#seqs.has(message.seq) ||
      (message.was !== undefined && this.#seqs.has(message.was))
    )
  }

  /** Takes a message that came over the connection. Says whether it was new. */
  append(message: Message): boolean {
    if (this.has(message)) return false
    this.#remember(message)
    this.#messages.splice(this.#position(placeOf(message)), 0, message)
    return true
  }

  /** Takes a page of history. */
  merge(page: readonly Message[]) {
    const fresh = page.filter((message) => {
      const isNew = !this.has(message)
      if (isNew) this.#remember(message)
      return isNew
    })
    if (fresh.length > 0) this.#messages = [...fresh, ...this.#messages].toSorted((a, b) => placeOf(a) - placeOf(b))
  }

  /** Adds to what is known of the way of the message with this `seq`. Says whether there is one. */
  trace(seq: number, hops: Hops): boolean {
    const index = this.#messages.findLastIndex((message) => message.seq === seq)
    const message = this.#messages[index]
    if (!message) return false
    this.#messages[index] = { ...message, hops: { ...message.hops, ...hops } }
    return true
  }

  /** Drops the oldest if there are too many. Says whether there were. */
  trim(bound: number): boolean {
    if (this.#messages.length <= bound * (1 + SLACK)) return false
    for (const message of this.#messages.splice(0, this.#messages.length - bound)) this.#forget(message)
    return true
  }

  /** Drops everything before this place. */
  dropBefore(seq: number) {
    for (const message of this.#messages.splice(0, this.#position(seq))) this.#forget(message)
  }

  #remember(message: Message) {
    this.#keys.add(keyOf(message))
    this.#seqs.add(message.seq)
  }

  #forget(message: Message) {
    this.#keys.delete(keyOf(message))
    this.#seqs.delete(message.seq)
  }

  /** How many messages come before this place. */
  #position(place: number): number {
    const at = (index: number) => (this.#messages[index] ? placeOf(this.#messages[index]) : 0)
    let [low, high] = [0, this.#messages.length]
    if (at(high - 1) < place) return high
    while (low < high) {
      const middle = (low + high) >>> 1
      if (at(middle) < place) low = middle + 1
      else high = middle
    }
    return low
  }
}
