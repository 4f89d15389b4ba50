import type { Page } from './history.ts'
import type { Traced } from './hops.ts'
import type { Entry } from './outbox.ts'
import { latest } from './profile.ts'
import { placeOf, type Message, type User } from './protocol.ts'
import { Speakers, type Speaker } from './speakers.ts'
import { Timeline } from './timeline.ts'

/** How many messages stay in memory: of a room in view, of one that is read further up, and of the others. */
const IN_VIEW = 20_000
const READ_BACK = 40_000
const OUT_OF_VIEW = 2000

/** A part of the log that was lost for good: its first and its last place. */
export type Gap = readonly [number, number]

type Attention = 'end' | 'further up' | 'elsewhere'

export type HistoryState = 'unloaded' | 'loading' | 'loaded' | 'failed'

/** A room as it is to be shown. Never changes once made. */
export type RoomView = {
  name: string
  messages: readonly Traced[]
  /** One's own that are not confirmed, in the order of writing. */
  outgoing: readonly Entry[]
  history: HistoryState
  hasOlder: boolean
  unread: number
  /** Messages above this seq were not read when they came. */
  divider: number | undefined
  /** Where messages may be missing for good, in ascending order. */
  gaps: readonly Gap[]
  /** The server could not replay everything. */
  hasGap: boolean
  typists: readonly string[]
  /** The last people who wrote here, the latest first. */
  speakers: readonly Speaker[]
}

/** A room this client is in. */
export class Room {
  readonly name: string
  readonly timeline = new Timeline()
  history: HistoryState = 'unloaded'
  /**
   * From where history goes on: what is below this seq is not loaded. `null` if there is nothing, `undefined` before the first page.
   *
   * That need not be the oldest message there is: one's own has its place as soon as it is acked, wherever that is.
   */
  olderThan: number | null | undefined
  hasGap = false
  /** After a reset: what is above this seq must be loaded. */
  staleAbove: number | undefined
  divider: number | undefined
  /** Up to where it was read. `undefined` until its messages come for the first time. */
  readSeq: number | undefined
  #gaps: readonly Gap[] = []
  readonly #speakers = new Speakers()
  /** From where on people count as speaking lately. To read further up makes nobody more recent. */
  #speakersFrom: number | undefined
  readonly #typists = new Map<string, User>()

  constructor(name: string, readSeq?: number) {
    this.name = name
    this.readSeq = readSeq
  }

  /** Whether there is more than is loaded, as far as that is known. */
  get hasOlder(): boolean {
    return this.olderThan !== null
  }

  get needsHistory(): boolean {
    return this.history === 'unloaded' || this.history === 'failed' || this.staleAbove !== undefined
  }

  /** Marks where the unread begins. Once all is read, the mark stays until there is more. */
  divide(me: User | undefined) {
    const { readSeq } = this
    const newest = this.#newestOfOthers(me)
    if (readSeq !== undefined && newest !== undefined && newest > readSeq) this.divider = readSeq
  }

  /** Up to the newest that others said: one's own has its place before all that is below it has come. */
  markRead(me: User | undefined) {
    this.readTo(this.#newestOfOthers(me))
  }

  readTo(seq: number | undefined) {
    this.readSeq = latest(this.readSeq, seq)
  }

  /** What came above this seq cannot be replayed. Where nothing is shown yet, nothing is missed. */
  markStale(seq: number) {
    if (this.history === 'unloaded' && !this.timeline.newest) return
    this.staleAbove = Math.min(this.staleAbove ?? seq, seq)
  }

  /** Takes a message that came over the connection. Says whether it was new. */
  append(message: Message): boolean {
    this.#speakers.add(message)
    this.#typists.delete(message.from.id)
    return this.timeline.append(message)
  }

  /** Takes a page of history. */
  merge({ messages, gaps = [] }: Pick<Page, 'messages' | 'gaps'>) {
    this.#speakersFrom ??= messages[0]?.seq
    for (const message of messages) if (message.seq >= (this.#speakersFrom ?? 0)) this.#speakers.add(message)
    this.timeline.merge(messages)
    const fresh = gaps.filter(([first]) => !this.#gaps.some(([known]) => known === first))
    if (fresh.length > 0) this.#gaps = [...this.#gaps, ...fresh].toSorted(([a], [b]) => a - b)
  }

  /** Drops everything before this place. It can be loaded again. */
  dropBefore(seq: number) {
    this.timeline.dropBefore(seq)
    this.olderThan = seq
  }

  /** Drops the oldest messages if there are more than a person who looks there needs. */
  trim(attention: Attention) {
    const bound = { end: IN_VIEW, 'further up': READ_BACK, elsewhere: OUT_OF_VIEW }[attention]
    if (this.timeline.trim(bound)) this.olderThan = this.timeline.oldest?.seq
  }

  /** Returns what forgets those who have not typed again since. It says whether there were any. */
  addTypists(users: readonly User[]): () => boolean {
    for (const user of users) this.#typists.set(user.id, user)
    return () => {
      const idle = users.filter((user) => this.#typists.get(user.id) === user)
      for (const { id } of idle) this.#typists.delete(id)
      return idle.length > 0
    }
  }

  view(outgoing: readonly Entry[], me: User | undefined): RoomView {
    const { name, history, hasOlder, hasGap, divider } = this
    return {
      name,
      messages: this.timeline.messages.slice(),
      outgoing,
      history,
      hasOlder,
      gaps: this.#gaps,
      hasGap,
      divider,
      unread: this.unread(me),
      speakers: this.#speakers.list,
      typists: [...this.#typists].filter(([id]) => id !== me?.id).map(([, typist]) => typist.name),
    }
  }

  unread(me: User | undefined): number {
    const { readSeq } = this
    if (readSeq === undefined) return 0
    let count = 0
    for (const message of newestFirst(this.timeline.messages)) {
      if (placeOf(message) <= readSeq) break
      if (message.from.id !== me?.id) count += 1
    }
    return count
  }

  #newestOfOthers(me: User | undefined): number | undefined {
    const newest = this.timeline.messages.findLast(({ from }) => from.id !== me?.id)
    return newest && placeOf(newest)
  }
}

function* newestFirst(messages: readonly Message[]) {
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const message = messages[index]
    if (message) yield message
  }
}
