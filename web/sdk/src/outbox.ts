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

type OutboxOptions = {
  storage: Storage
  tab: Tab
  /** What a tab that is gone left unsent in these rooms is here now. */
  onInherit: (rooms: readonly string[]) => void
  /** Another tab took this over. */
  onYield: (entry: Entry) => void
  /** The storage takes no more: what is unsent goes with the program. Told once. */
  onUnkept: () => void
}

const CAPACITY = 200
const PREFIX = 'outbox.'

/**
 * What is to be sent, kept over reloads. Each tab has its own, so that none sends what another is about to send.
 *
 * Each entry is stored by itself, under the tab and a number that grows.
 */
export class Outbox {
  #entries: readonly Entry[] = []
  #count = 0
  #hasReportedUnkept = false
  #unwatch: (() => void) | undefined
  /** Where each entry is stored. */
  readonly #names = new Map<string, string>()
  readonly #options: OutboxOptions

  constructor(options: OutboxOptions) {
    this.#options = options
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
    this.#entries = index < 0 ? [...this.#entries, entry] : this.#entries.with(index, entry)
    const name = this.#names.get(entry.id) ?? this.#newName()
    this.#names.set(entry.id, name)
    if (this.#options.storage.write(name, entry)) return
    // what is stored does not say that it went out, and would be sent as new
    this.#options.storage.remove(name)
    if (this.#hasReportedUnkept) return
    this.#hasReportedUnkept = true
    this.#options.onUnkept()
  }

  remove(id: string) {
    const name = this.#names.get(id)
    if (name === undefined) return
    this.#options.storage.remove(name)
    this.#forget(id)
  }

  /** Takes over what tabs left when they went, now and later. */
  inherit() {
    const { storage, tab } = this.#options
    const awaited = new Set([tab.id])
    const follow = (other: string) => {
      if (awaited.has(other)) return
      awaited.add(other)
      tab.whenGone(other, () => this.#adoptFrom(other))
    }
    for (const name of storage.names(PREFIX)) follow(tabOf(name))
    this.#unwatch = storage.watch((name) => {
      if (!name.startsWith(PREFIX)) return
      if (tab.seesOthers) follow(tabOf(name))
      else this.#giveUp(name)
    })
  }

  close() {
    this.#unwatch?.()
  }

  #newName(): string {
    this.#count += 1
    return `${PREFIX}${this.#options.tab.id}.${this.#count}`
  }

  #forget(id: string) {
    this.#entries = this.#entries.filter((entry) => entry.id !== id)
    this.#names.delete(id)
  }

  #adoptFrom(tab: string) {
    const { storage } = this.#options
    const names = storage.names(`${PREFIX}${tab}.`).toSorted((a, b) => numberOf(a) - numberOf(b))
    const rooms = new Set<string>()
    for (const name of names) {
      const entry = storage.read(name, isEntry)
      if (entry && !this.get(entry.id)) {
        this.#adopt(entry, name)
        rooms.add(entry.room)
      } else {
        storage.remove(name)
      }
    }
    if (rooms.size > 0) this.#options.onInherit([...rooms])
  }

  /** The old copy goes when the new one is there. If there is no room for both, the old one stays in use. */
  #adopt(entry: Entry, oldName: string) {
    const { storage } = this.#options
    const newName = this.#newName()
    const isMoved = storage.write(newName, entry)
    if (isMoved) storage.remove(oldName)
    this.#names.set(entry.id, isMoved ? newName : oldName)
    this.#entries = [...this.#entries, entry]
  }

  /** A tab that could not know of this one took what was stored here. */
  #giveUp(name: string) {
    const entry = this.#entries.find(({ id }) => this.#names.get(id) === name)
    if (!entry || this.#options.storage.read(name, isEntry)) return
    this.#forget(entry.id)
    this.#options.onYield(entry)
  }
}

function tabOf(name: string): string {
  return name.slice(PREFIX.length, name.lastIndexOf('.'))
}

function numberOf(name: string): number {
  return Number(name.slice(name.lastIndexOf('.') + 1))
}

function isEntry(value: unknown): value is Entry {
  const entry = Object(value)
  return ['id', 'room', 'body'].every((key) => typeof entry[key] === 'string') && entry.at > 0
}
