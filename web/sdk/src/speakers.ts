import type { Message } from './protocol.ts'

/** A person who wrote in a room, and the time of their last message. */
export type Speaker = { id: string; name: string; at: number }

const CAPACITY = 50

/** The last people who wrote in a room. */
export class Speakers {
  #last: Message[] = []
  #view: readonly Speaker[] | undefined

  add(message: Message) {
    const known = this.#last.find(({ from }) => from.id === message.from.id)
    if (known && known.seq >= message.seq) return
    const others = this.#last.filter((last) => last !== known)
    const later = others.filter(({ seq }) => seq > message.seq)
    this.#last = others.toSpliced(later.length, 0, message).slice(0, CAPACITY)
    this.#view = undefined
  }

  /** The latest first. */
  get list(): readonly Speaker[] {
    this.#view ??= this.#last.map(({ from, at }) => ({ ...from, at }))
    return this.#view
  }
}
