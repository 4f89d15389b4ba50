import type { Message } from './protocol.ts'

/** Someone who said something in a room, and when they last did. */
export type Speaker = { id: string; name: string; at: number }

const CAPACITY = 50

/** Who spoke lately in a room. */
export class Speakers {
  #last: Message[] = []
  #view: readonly Speaker[] | undefined

  hear(message: Message) {
    const known = this.#last.find(({ from }) => from.id === message.from.id)
    if (known && known.seq >= message.seq) return
    const others = this.#last.filter((last) => last !== known)
    const later = others.filter(({ seq }) => seq > message.seq)
    this.#last = others.toSpliced(later.length, 0, message).slice(0, CAPACITY)
    this.#view = undefined
  }

  /** Whoever spoke last comes first. */
  get list(): readonly Speaker[] {
    this.#view ??= this.#last.map(({ from, at }) => ({ ...from, at }))
    return this.#view
  }
}
