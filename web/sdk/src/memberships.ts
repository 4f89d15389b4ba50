import { LIMITS, roomFault, type ClientFrame, type ErrorCode } from './protocol.ts'

/** Why a room cannot be joined. */
export class RoomError extends Error {
  override readonly name = 'RoomError'
  readonly code: Extract<ErrorCode, 'invalid_room' | 'too_many_rooms'>

  constructor(code: RoomError['code'], detail: string) {
    super(detail)
    this.code = code
  }
}

/** The rooms that a client wants to be in, and how much of that the server knows. */
export class Memberships {
  /** How many rooms the server allows. */
  limit = LIMITS.rooms
  readonly #wanted = new Set<string>()
  /** The rooms that the server was told of on this connection, and those that it confirmed. */
  #told = new Set<string>()
  #confirmed = new Set<string>()
  #retry: ReturnType<typeof setTimeout> | undefined
  readonly #say: (frame: ClientFrame) => boolean

  /** `say` returns whether the connection takes frames now. */
  constructor(rooms: Iterable<string>, say: (frame: ClientFrame) => boolean) {
    this.#say = say
    for (const room of rooms) this.#want(room)
  }

  get rooms(): string[] {
    return [...this.#wanted]
  }

  /** Whether the messages of a room come: it was named in the hello, or joined since. */
  has(room: string): boolean {
    return this.#confirmed.has(room)
  }

  /** Throws a `RoomError` where the server would not let anyone in, for it would refuse the next hello as well. */
  join(room: string) {
    this.#want(room)
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

  close() {
    clearTimeout(this.#retry)
  }

  #want(room: string) {
    const fault = roomFault(room)
    if (fault !== undefined) throw new RoomError('invalid_room', `“${room}” is not the name of a room. ${fault}`)
    if (!this.#wanted.has(room) && this.#wanted.size >= this.limit) {
      throw new RoomError('too_many_rooms', `You can be in ${this.limit} rooms at a time. Leave one to join “${room}”.`)
    }
    this.#wanted.add(room)
  }
}
