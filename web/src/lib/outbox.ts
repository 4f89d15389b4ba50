import { randomId } from './random'
import type { Storage } from './storage'

/** A message of one's own that the server has not confirmed. */
export type Entry = {
  id: string
  room: string
  body: string
  /** When it was written. */
  at: number
  /** When it first went out. From then on the server may have it. */
  sentAt?: number
  /** Why it will not go out by itself. */
  fault?: string
}

const CAPACITY = 200
const NAME = 'outbox'

/** What is to be sent, kept over reloads. Every change is merged into what other tabs of the browser have stored. */
export class Outbox {
  #entries: readonly Entry[]
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
    this.#entries = this.#stored()
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  get isFull(): boolean {
    return this.#entries.length >= CAPACITY
  }

  get(id: string): Entry | undefined {
    return this.#entries.find((entry) => entry.id === id)
  }

  add(room: string, body: string): Entry {
    const entry = { id: randomId(), room, body, at: Date.now() }
    this.put(entry)
    return entry
  }

  /** Adds the entry or takes the place of the one with its id. */
  put(entry: Entry) {
    this.#change((entries) => {
      const index = entries.findIndex((other) => other.id === entry.id)
      return index < 0 ? [...entries, entry] : entries.with(index, entry)
    })
  }

  remove(id: string) {
    this.#change((entries) => entries.filter((entry) => entry.id !== id))
  }

  removeRoom(room: string) {
    this.#change((entries) => entries.filter((entry) => entry.room !== room))
  }

  #change(change: (entries: readonly Entry[]) => readonly Entry[]) {
    this.#entries = change(this.#entries)
    this.#storage.write(NAME, change(this.#stored()))
  }

  #stored(): readonly Entry[] {
    return this.#storage.read(NAME, isEntries) ?? []
  }
}

function isEntries(value: unknown): value is Entry[] {
  return (
    Array.isArray(value) &&
    value.every((entry) => ['id', 'room', 'body'].every((key) => typeof entry?.[key] === 'string') && entry.at > 0)
  )
}
