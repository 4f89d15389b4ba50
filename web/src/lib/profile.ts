import { nameFault, roomFault } from './protocol.ts'
import type { Storage } from './storage.ts'

type KnownRoom = { name: string; readSeq?: number | undefined }

/** What the browser remembers of a person. Every change is made to what is stored, for other tabs make theirs. */
export class Profile {
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
  }

  get name(): string | undefined {
    return this.#storage.read('name', isName)
  }

  set name(name: string) {
    this.#storage.write('name', name)
  }

  get rooms(): readonly KnownRoom[] {
    return this.#storage.read('rooms', isRooms) ?? []
  }

  /** Remembers a room, and up to where it was read in any tab. */
  keep({ name, readSeq }: KnownRoom) {
    const { rooms } = this
    const index = rooms.findIndex((room) => room.name === name)
    const room = { name, readSeq: latest(rooms[index]?.readSeq, readSeq) }
    this.#storage.write('rooms', index < 0 ? [...rooms, room] : rooms.with(index, room))
  }

  forget(room: string) {
    const others = this.rooms.filter(({ name }) => name !== room)
    this.#storage.write('rooms', others)
  }

  /** Calls back when another tab changed something. */
  watch(listener: () => void) {
    this.#storage.watch((name) => {
      if (name === 'name' || name === 'rooms') listener()
    })
  }
}

/** The higher of two places, if there are any. */
export function latest(...seqs: (number | undefined)[]): number | undefined {
  const known = seqs.filter((seq) => seq !== undefined)
  return known.length > 0 ? Math.max(...known) : undefined
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && nameFault(value) === undefined
}

function isRooms(value: unknown): value is KnownRoom[] {
  return Array.isArray(value) && value.every((room) => typeof room?.name === 'string' && roomFault(room.name) === undefined)
}
