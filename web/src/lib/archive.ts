import type { History, Page } from './history.ts'
import type { Room } from './room.ts'

/** How many pages of history are loaded to close the gap that a reset leaves. */
const GAP_PAGES = 4

export type ArchiveOptions = {
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
    const { oldest } = room.timeline
    if (room.history === 'loading') return
    if (!oldest || room.staleAbove !== undefined) return this.#load(room)
    await this.#loading(room, async () => {
      const page = await this.#page(room, oldest.seq)
      room.hasOlder = page.next !== null
    })
  }

  async #load(room: Room) {
    await this.#loading(room, async () => {
      const { staleAbove } = room
      room.staleAbove = undefined
      try {
        let page = await this.#page(room)
        if (staleAbove !== undefined) page = await this.#closeGap(room, staleAbove, page)
        room.hasGap ||= staleAbove !== undefined
        room.hasOlder = page.next !== null
        room.readSeq ??= room.timeline.newest?.seq ?? 0
      } catch (error) {
        if (staleAbove !== undefined) room.markStale(staleAbove)
        throw error
      }
    })
  }

  /** Loads back to what was there before the reset. Where that is too far, only what is newer than the gap stays. */
  async #closeGap(room: Room, staleAbove: number, newest: Page): Promise<Page> {
    let page = newest
    for (let pages = 1; page.next !== null; pages += 1) {
      const oldest = page.messages[0]
      if (!oldest || oldest.seq <= staleAbove) break
      if (pages === GAP_PAGES) {
        room.timeline.dropBefore(oldest.seq)
        break
      }
      page = await this.#page(room, oldest.seq)
    }
    return page
  }

  async #page(room: Room, before?: number): Promise<Page> {
    const page = await this.#history(room.name, before === undefined ? {} : { before })
    room.merge(page.messages)
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
