import { randomId } from './random.ts'
import type { Storage } from './storage.ts'
import type { Tab } from './tab.ts'

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
const PREFIX = 'outbox.'

/** What is to be sent, kept over reloads. Each tab has its own, so that none sends what another is about to send. */
export class Outbox {
  #entries: readonly Entry[] = []
  #unwatch: (() => void) | undefined
  readonly #name: string
  readonly #storage: Storage
  readonly #tab: Tab

  constructor(storage: Storage, tab: Tab) {
    this.#storage = storage
    this.#tab = tab
    this.#name = PREFIX + tab.id
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
    const index = this.#entries.findIndex((other) => other.id === entry.id)
    this.#change(index < 0 ? [...this.#entries, entry] : this.#entries.with(index, entry))
  }

  remove(id: string) {
    this.#change(this.#entries.filter((entry) => entry.id !== id))
  }

  removeRoom(room: string) {
    this.#change(this.#entries.filter((entry) => entry.room !== room))
  }

  /** Takes over what tabs left when they went, now and later. Calls back with the rooms where that changes something. */
  inherit(onRooms: (rooms: string[]) => void) {
    const awaited = new Set([this.#name])
    const follow = (name: string) => {
      if (!name.startsWith(PREFIX) || awaited.has(name)) return
      awaited.add(name)
      this.#tab.whenGone(name.slice(PREFIX.length), () => onRooms(this.#take(name)))
    }
    for (const name of this.#storage.names(PREFIX)) follow(name)
    this.#unwatch = this.#storage.watch((name) => {
      if (this.#tab.seesOthers) follow(name)
      else if (name === this.#name) onRooms(this.#yield())
    })
  }

  close() {
    this.#unwatch?.()
  }

  #change(entries: readonly Entry[]) {
    this.#entries = entries
    if (entries.length > 0) this.#storage.write(this.#name, entries)
    else this.#storage.remove(this.#name)
  }

  #take(name: string): string[] {
    const entries = this.#storage.read(name, isEntries) ?? []
    this.#storage.remove(name)
    if (entries.length > 0) this.#change([...this.#entries, ...entries])
    return roomsOf(entries)
  }

  /** A tab that could not know of this one took all there was. */
  #yield(): string[] {
    if (this.#storage.read(this.#name, isEntries)) return []
    const entries = this.#entries
    this.#entries = []
    return roomsOf(entries)
  }
}

function roomsOf(entries: readonly Entry[]): string[] {
  return [...new Set(entries.map(({ room }) => room))]
}

function isEntries(value: unknown): value is Entry[] {
  return (
    Array.isArray(value) &&
    value.every((entry) => ['id', 'room', 'body'].every((key) => typeof entry?.[key] === 'string') && entry.at > 0)
  )
}
