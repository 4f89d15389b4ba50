import type { Message } from './protocol'

/** How many messages of a room stay in memory, and how many go at once when there are more. */
const CAPACITY = 2000
const TRIM = 500
/** How many of the dropped are remembered, so that none of them comes in again as new. */
const MEMORY = 5000

/** The messages of a room in the order of `seq`, each once. */
export class Timeline {
  #messages: Message[] = []
  readonly #keys = new Set<string>()
  readonly #seqs = new Set<number>()
  readonly #dropped = new Set<string>()

  get messages(): readonly Message[] {
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
    return !this.#dropped.has(keyOf(message)) && this.#insert(message)
  }

  /** Takes a page of history. Says whether any of it was known. */
  merge(page: readonly Message[]): boolean {
    return page.filter((message) => this.#insert(message)).length < page.length
  }

  /** Drops the oldest if there are too many. Says whether there were. */
  trim(): boolean {
    if (this.#messages.length <= CAPACITY) return false
    for (const message of this.#messages.splice(0, this.#messages.length - CAPACITY + TRIM)) {
      this.#forget(message)
      this.#dropped.add(keyOf(message))
    }
    for (const key of this.#dropped) {
      if (this.#dropped.size <= MEMORY) break
      this.#dropped.delete(key)
    }
    return true
  }

  /** Drops everything before this place. */
  dropBefore(seq: number) {
    const count = this.#position(seq)
    for (const message of this.#messages.splice(0, count)) this.#forget(message)
  }

  #insert(message: Message): boolean {
    if (this.has(message)) return false
    this.#keys.add(keyOf(message))
    this.#seqs.add(message.seq)
    this.#messages.splice(this.#position(message.seq), 0, message)
    return true
  }

  #forget(message: Message) {
    this.#keys.delete(keyOf(message))
    this.#seqs.delete(message.seq)
  }

  /** How many messages come before this seq; mostly all of them. */
  #position(seq: number): number {
    return this.#messages.findLastIndex((message) => message.seq < seq) + 1
  }
}

/** What makes a message the same message: the sender and the sender's id for it. */
export function keyOf({ from, id }: Pick<Message, 'from' | 'id'>): string {
  return `${from.id}:${id}`
}
