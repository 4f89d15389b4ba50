import type { Entry } from './outbox'
import type { Message, User } from './protocol'
import { Timeline } from './timeline'

const TYPING_MS = 5000

export type HistoryState = 'unloaded' | 'loading' | 'loaded' | 'failed'

/** A room as it is to be shown. Never changes once made. */
export type RoomView = {
  name: string
  messages: readonly Message[]
  /** One's own that are not confirmed, in the order of writing. */
  outgoing: readonly Entry[]
  history: HistoryState
  hasOlder: boolean
  unread: number
  /** Messages above this seq were not read when they came. */
  divider: number | undefined
  /** The server could not replay everything. */
  hasGap: boolean
  typists: readonly string[]
}

/** A room this client is in. */
export class Room {
  readonly name: string
  readonly timeline = new Timeline()
  history: HistoryState = 'unloaded'
  hasOlder = false
  hasGap = false
  /** After a reset: what is above this seq must be loaded. */
  staleAbove: number | undefined
  divider: number | undefined
  readSeq: number | undefined
  readonly #typists = new Map<string, { name: string; until: number }>()

  constructor(name: string, readSeq?: number) {
    this.name = name
    this.readSeq = readSeq
  }

  get needsHistory(): boolean {
    return this.history === 'unloaded' || this.history === 'failed' || this.staleAbove !== undefined
  }

  /** Marks where the unread begins. Once all is read, the mark stays until there is more. */
  divide(me: User | undefined) {
    if (this.unread(me) > 0) this.divider = this.readSeq
  }

  markRead() {
    const { newest } = this.timeline
    if (newest) this.readSeq = Math.max(this.readSeq ?? 0, newest.seq)
  }

  markStale() {
    this.staleAbove ??= this.timeline.newest?.seq
    this.hasGap = this.timeline.newest !== undefined
  }

  addTypists(users: readonly User[], now: number) {
    for (const { id, name } of users) this.#typists.set(id, { name, until: now + TYPING_MS })
  }

  removeTypist(id: string) {
    this.#typists.delete(id)
  }

  /** Forgets who stopped typing. Says whether anyone did. */
  expireTypists(now: number): boolean {
    const expired = [...this.#typists].filter(([, { until }]) => until <= now)
    for (const [id] of expired) this.#typists.delete(id)
    return expired.length > 0
  }

  view(outgoing: readonly Entry[], me: User | undefined): RoomView {
    const { name, history, hasOlder, hasGap, divider } = this
    return {
      name,
      messages: [...this.timeline.messages],
      outgoing,
      history,
      hasOlder,
      hasGap,
      divider,
      unread: this.unread(me),
      typists: [...this.#typists].filter(([id]) => id !== me?.id).map(([, typist]) => typist.name),
    }
  }

  unread(me: User | undefined): number {
    const { readSeq } = this
    if (readSeq === undefined) return 0
    const { messages } = this.timeline
    const first = messages.findLastIndex((message) => message.seq <= readSeq) + 1
    return messages.slice(first).filter((message) => message.from.id !== me?.id).length
  }
}
