import type { ClientFrame } from './protocol.ts'

/** The rooms that a client wants to be in, and how much of that the server knows. */
export class Memberships {
  readonly #wanted: Set<string>
  /** The rooms that the server was told of on this connection, and those that it confirmed. */
  #told = new Set<string>()
  #confirmed = new Set<string>()
  #retry: ReturnType<typeof setTimeout> | undefined
  readonly #say: (frame: ClientFrame) => boolean

  /** `say` returns whether the connection takes frames now. */
  constructor(rooms: Iterable<string>, say: (frame: ClientFrame) => boolean) {
    this.#wanted = new Set(rooms)
    this.#say = say
  }

  get rooms(): string[] {
    return [...this.#wanted]
  }

  has(room: string): boolean {
    return this.#wanted.has(room)
  }

  join(room: string) {
    this.#wanted.add(room)
    this.tell()
  }

  leave(room: string) {
    this.#wanted.delete(room)
    this.tell()
  }

  /** A new connection, whose hello names these rooms. */
  introduce(): string[] {
    clearTimeout(this.#retry)
    this.#told = new Set(this.#wanted)
    this.#confirmed = new Set(this.#wanted)
    return this.rooms
  }

  confirm(room: string) {
    this.#confirmed.add(room)
  }

  revoke(room: string) {
    this.#confirmed.delete(room)
  }

  /** Joins and leaves until the server knows what is wanted. */
  tell() {
    for (const room of this.#told) {
      if (!this.#wanted.has(room) && this.#say({ type: 'leave', room })) this.#told.delete(room)
    }
    for (const room of this.#wanted) {
      if (!this.#told.has(room) && this.#say({ type: 'join', room })) this.#told.add(room)
    }
  }

  /** The server refused some of it, because it was too much at once. What it did not confirm is told again. */
  tellAgainAfter(ms: number) {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      this.#told = new Set(this.#confirmed)
      this.tell()
    }, ms)
  }
}
