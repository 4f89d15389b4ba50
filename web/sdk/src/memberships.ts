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
  #announced = new Set<string>()
  #confirmed = new Set<string>()
  #retry: ReturnType<typeof setTimeout> | undefined
  readonly #send: (frame: ClientFrame) => boolean

  /** `say` returns whether the connection takes frames now. */
  constructor(rooms: Iterable<string>, send: (frame: ClientFrame) => boolean) {
    this.#send = send
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
    this.sync()
  }

  leave(room: string) {
    this.#wanted.delete(room)
    this.sync()
  }

  /** A new connection, whose hello names these rooms. */
  announceAll(): string[] {
    clearTimeout(this.#retry)
    this.#announced = new Set(this.#wanted)
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
  sync() {
    for (const room of this.#announced) {
      if (!this.#wanted.has(room) && this.#send({ type: 'leave', room })) this.#announced.delete(room)
    }
    for (const room of this.#wanted) {
      if (!this.#announced.has(room) && this.#send({ type: 'join', room })) this.#announced.add(room)
    }
  }

  /** The server refused some of it, because it was too much at once. What it did not confirm is sent again. */
  resyncAfter(ms: number) {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      this.#announced = new Set(this.#confirmed)
      this.sync()
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
