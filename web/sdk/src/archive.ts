import type { History, Page } from './history.ts'
import type { Room } from './room.ts'

/** How many pages of history are loaded in a row: to close the gap that a reset leaves, or back to what was read. */
const PAGES = 4

type ArchiveOptions = {
  history: History
  /** Loading began, or ended. */
  onChange: (room: Room) => void
}

/** Loads into rooms what was said in them earlier. */
export class Archive {
  readonly #history: History
  readonly #onChange: (room: Room) => void

  constructor({ history, onChange }: ArchiveOptions) {
    this.#history = history
    this.#onChange = onChange
  }

  /** Loads what is not loaded yet, room after room. */
  async loadDue(rooms: readonly Room[]) {
    for (const room of rooms) {
      if (room.needsHistory && room.history !== 'loading') await this.#load(room)
    }
  }

  async loadOlder(room: Room) {
    const { olderThan } = room
    if (room.history === 'loading') return
    if (typeof olderThan !== 'number' || room.staleAbove !== undefined) return this.#load(room)
    await this.#loading(room, () => this.#extend(room, olderThan))
  }

  async #load(room: Room) {
    await this.#loading(room, async () => {
      const { staleAbove } = room
      room.staleAbove = undefined
      try {
        const page = await this.#page(room)
        if (room.olderThan === undefined) room.olderThan = page.next
        if (staleAbove === undefined) await this.#reachRead(room)
        else await this.#closeGap(room, staleAbove, page)
      } catch (error) {
        if (staleAbove !== undefined) room.markStale(staleAbove)
        throw error
      }
    })
  }

  /** Loads back to where the person had read, or who comes back sees neither how much is new nor where it begins. */
  async #reachRead(room: Room) {
    for (let pages = 1; pages < PAGES; pages += 1) {
      const { olderThan, readSeq } = room
      if (readSeq === undefined || typeof olderThan !== 'number' || olderThan <= readSeq + 1) return
      await this.#extend(room, olderThan)
    }
  }

  async #extend(room: Room, olderThan: number) {
    const page = await this.#history(room.name, { before: olderThan })
    // or the oldest were dropped meanwhile, and this page no longer adjoins
    if (room.olderThan !== olderThan) return
    room.merge(page)
    room.olderThan = page.next
  }

  /** Loads back to what was there before the reset. Where that is too far, only what is newer than the gap stays. */
  async #closeGap(room: Room, staleAbove: number, newest: Page) {
    let page = newest
    for (let pages = 1; page.next !== null && page.next > staleAbove + 1; pages += 1) {
      if (pages === PAGES) {
        room.dropBefore(page.next)
        break
      }
      page = await this.#page(room, page.next)
    }
    room.hasGap = true
  }

  async #page(room: Room, before?: number): Promise<Page> {
    const page = await this.#history(room.name, before === undefined ? {} : { before })
    room.merge(page)
    return page
  }

  async #loading(room: Room, load: () => Promise<void>) {
    room.history = 'loading'
    this.#onChange(room)
    try {
      await load()
      room.history = 'loaded'
    } catch {
      room.history = 'failed'
    }
    this.#onChange(room)
    // a reset came meanwhile
    if (room.history === 'loaded' && room.staleAbove !== undefined) await this.#load(room)
  }
}
