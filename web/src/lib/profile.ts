import { nameFault, roomFault } from './protocol'
import { randomId } from './random'
import type { Storage } from './storage'

type KnownRoom = { name: string; readSeq?: number | undefined }

/** What the browser remembers of a person. */
export class Profile {
  #name: string | undefined
  #session: string
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
    this.#name = storage.read('name', isName)
    this.#session = storage.read('session', isSession) ?? this.renewSession()
  }

  get name(): string | undefined {
    return this.#name
  }

  set name(name: string | undefined) {
    this.#name = name
    this.#storage.write('name', name)
  }

  /** The secret that makes the person the same sender everywhere. */
  get session(): string {
    return this.#session
  }

  set session(session: string) {
    this.#session = session
    this.#storage.write('session', session)
  }

  renewSession(): string {
    this.session = randomId()
    return this.#session
  }

  get rooms(): readonly KnownRoom[] {
    return this.#storage.read('rooms', isRooms) ?? []
  }

  set rooms(rooms: readonly KnownRoom[]) {
    this.#storage.write('rooms', rooms)
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && nameFault(value) === undefined
}

function isSession(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{22}$/.test(value)
}

function isRooms(value: unknown): value is KnownRoom[] {
  return Array.isArray(value) && value.every((room) => typeof room?.name === 'string' && roomFault(room.name) === undefined)
}
