import { keyOf, placeOf, type Entry, type Gap, type Hops, type RoomView, type Traced, type User } from 'hubbub-client'
import { isSameDay } from '@/ui/clock'

const GROUP_MS = 5 * 60_000
/** How many of one's own rows are remembered by key: more than can be unsent or on their way at once. */
const OWN = 500

/** A message as the list shows it, with what stands above it. */
export type Row = {
  key: string
  id: string
  seq?: number
  place?: number
  author: User
  isOwn: boolean
  body: string
  at: number
  state: 'sent' | 'pending' | 'failed'
  fault?: string
  hops?: Hops
  /** It opens a group of messages by one author. */
  isFirst: boolean
  /** The first of its day. */
  opensDay: boolean
  /** The first unread one, when the room was opened. */
  isDivided: boolean
  /** Messages above it may be missing: the log lost them before they were recorded. */
  followsGap: boolean
}

type Content = Omit<Row, 'isFirst' | 'opensDay' | 'isDivided' | 'followsGap'>
type Place = { previous: Row | undefined; isDivided: boolean; followsGap: boolean; isOldest: boolean }

/** What rows depend on, beside the messages. */
type Frame = Pick<RoomView, 'divider' | 'gaps' | 'hasOlder'> & { me: User | undefined }

/**
 * What the list of a room shows, from top to bottom.
 *
 * A row keeps the heading that it was shown with, so that older messages that come above it move nothing. Of ten thousand
 * rows only those that changed are looked at. As long as none does and nothing is
 * unsent, the list is the very same.
 */
export class Rows {
  #messages: readonly Traced[] = []
  #sent: Row[] = []
  #rows: readonly Row[] = []
  #frame: Frame | undefined
  readonly #known = new WeakMap<Traced, Row>()
  readonly #own = new Map<string, Row>()

  of(room: RoomView, me: User | undefined, name: string): readonly Row[] {
    const { divider, gaps, hasOlder } = room
    const frame = { divider, gaps, hasOlder, me }
    const rows = this.#sent.slice(0, isSame(frame, this.#frame) ? commonStart(room.messages, this.#messages) : 0)
    let isDue = divider !== undefined && !rows.some((row) => row.isDivided)
    const add = (content: Content | Row): Row => {
      const isDivided = isDue && !content.isOwn && (content.seq ?? 0) > (divider ?? 0)
      isDue &&= !isDivided
      const followsGap = gaps.some((gap) => isBetween(gap, rows.at(-1)?.place, content.place))
      const row = this.#place(content, { previous: rows.at(-1), isDivided, followsGap, isOldest: rows.length === 0 && !hasOlder })
      rows.push(row)
      return row
    }
    for (const message of room.messages.slice(rows.length)) {
      this.#known.set(message, add(this.#known.get(message) ?? sentContent(message, message.from.id === me?.id)))
    }
    this.#messages = room.messages
    this.#sent = rows.slice()
    this.#frame = frame
    for (const entry of room.outgoing) add(unsentContent(entry, me ?? { id: '', name }))
    if (rows.length !== this.#rows.length || commonStart(rows, this.#rows) < rows.length) this.#rows = rows
    return this.#rows
  }

  #place(content: Content | Row, { previous, isDivided, followsGap, isOldest }: Place): Row {
    const known = 'isFirst' in content ? content : this.#own.get(content.key)
    const opensDay = previous ? !isSameDay(previous.at, content.at) : isOldest || known?.opensDay === true
    const isFirst = opensDay || isDivided || followsGap || !previous || known?.isFirst === true || !continuesGroup(content, previous)
    const headed = { isFirst, opensDay, isDivided, followsGap }
    if (known === content && isHeadedAs(known, headed)) return known
    const row = { ...content, ...headed }
    if (row.isOwn) this.#remember(row)
    return row
  }

  #remember(row: Row) {
    this.#own.delete(row.key)
    this.#own.set(row.key, row)
    for (const key of this.#own.keys()) {
      if (this.#own.size <= OWN) break
      this.#own.delete(key)
    }
  }
}

/** Whether a part that is lost lies between two places. Above the oldest message that is loaded it is not shown yet. */
function isBetween([first, last]: Gap, above: number | undefined, below: number | undefined): boolean {
  return above !== undefined && below !== undefined && above < last && first < below
}

function isHeadedAs(row: Row, headed: Omit<Row, keyof Content>): boolean {
  return (
    row.isFirst === headed.isFirst &&
    row.opensDay === headed.opensDay &&
    row.isDivided === headed.isDivided &&
    row.followsGap === headed.followsGap
  )
}

function isSame(frame: Frame, other: Frame | undefined): boolean {
  return frame.divider === other?.divider && frame.gaps === other?.gaps && frame.hasOlder === other?.hasOlder && frame.me === other?.me
}

/** How many of the first are the same in both lists. */
function commonStart<T>(list: readonly T[], other: readonly T[]): number {
  const differs = list.findIndex((item, index) => item !== other[index])
  return differs < 0 ? Math.min(list.length, other.length) : differs
}

/** An own message has the same key before and after its confirmation, so that its row stays the same element. */
function sentContent(message: Traced, isOwn: boolean): Content {
  const { id, seq, body, at, from, hops } = message
  const content: Content = { key: isOwn ? id : keyOf(message), id, seq, place: placeOf(message), author: from, isOwn, body, at, state: 'sent' }
  return hops ? { ...content, hops } : content
}

function unsentContent({ id, body, at, fault }: Entry, author: User): Content {
  const content = { key: id, id, author, isOwn: true, body, at }
  return fault === undefined ? { ...content, state: 'pending' } : { ...content, state: 'failed', fault }
}

function continuesGroup(content: Content, previous: Content): boolean {
  return content.author.id === previous.author.id && content.author.name === previous.author.name && content.at - previous.at < GROUP_MS
}
