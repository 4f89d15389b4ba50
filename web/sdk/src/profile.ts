import { nameFault, roomFault } from './protocol.ts'
import type { Storage } from './storage.ts'
import { onHidden } from './browser.ts'

/** A room of the person's: since when, and up to where it was read in any tab. */
type KnownRoom = { joinedAt: number; readSeq?: number | undefined }

const PREFIX = 'room.'
/** How often it is stored up to where the rooms were read, for each time is an event in every other tab. */
const READ_INTERVAL_MS = 1000

/** What the browser remembers of a person. Each room is stored by itself, for other tabs write there too. */
export class Profile {
  readonly #storage: Storage
  /** Up to where rooms were read, as far as that is not stored. */
  readonly #read = new Map<string, number | undefined>()
  #pause: ReturnType<typeof setTimeout> | undefined

  constructor(storage: Storage) {
    this.#storage = storage
  }

  get name(): string | undefined {
    return this.#storage.read('name', isName)
  }

  set name(name: string) {
    this.#storage.write('name', name)
  }

  /** The names of the rooms, in the order of joining. */
  get rooms(): string[] {
    const known = this.#storage.names(PREFIX).flatMap((key) => {
      const name = key.slice(PREFIX.length)
      const room = this.room(name)
      return room && roomFault(name) === undefined ? [{ name, ...room }] : []
    })
    return known.toSorted((a, b) => a.joinedAt - b.joinedAt).map(({ name }) => name)
  }

  room(name: string): KnownRoom | undefined {
    return this.#storage.read(PREFIX + name, isRoom)
  }

  join(room: string) {
    if (!this.room(room)) this.#storage.write(PREFIX + room, { joinedAt: Date.now() })
  }

  /** Remembers up to where a room was read, unless another tab has left it: at once, or when a pause after the last time is over. */
  read(name: string, seq: number | undefined) {
    this.#read.set(name, seq)
    if (this.#pause === undefined) this.#storeAndPause()
  }

  /** Stores at once what waits for that. */
  flush() {
    clearTimeout(this.#pause)
    this.#pause = undefined
    for (const [name, seq] of this.#read) {
      const room = this.room(name)
      if (room) this.#storage.write(PREFIX + name, { ...room, readSeq: latest(room.readSeq, seq) })
    }
    this.#read.clear()
  }

  leave(room: string) {
    this.#storage.remove(PREFIX + room)
  }

  /** Calls back when another tab changed the name, or something about a room, until the returned function is called. */
  watch(onName: () => void, onRoom: (room: string) => void): () => void {
    const unwatch = this.#storage.watch((key) => {
      if (key === 'name') onName()
      else if (key.startsWith(PREFIX)) onRoom(key.slice(PREFIX.length))
    })
    const unfollow = onHidden(() => this.flush())
    return () => {
      unwatch()
      unfollow()
    }
  }

  #storeAndPause() {
    const isDue = this.#read.size > 0
    this.flush()
    if (isDue) this.#pause = setTimeout(() => this.#storeAndPause(), READ_INTERVAL_MS)
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

function isRoom(value: unknown): value is KnownRoom {
  const { joinedAt, readSeq } = Object(value)
  return joinedAt > 0 && ['number', 'undefined'].includes(typeof readSeq)
}
