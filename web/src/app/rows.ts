import type { RoomView } from '@/lib/room'
import { keyOf, type User } from '@/lib/protocol'
import { isSameDay } from './clock'

const GROUP_MS = 5 * 60_000

export type MessageRow = {
  kind: 'message'
  key: string
  id: string
  seq?: number
  author: User
  isOwn: boolean
  body: string
  at: number
  state: 'sent' | 'pending' | 'failed'
  fault?: string
  /** It opens a group of messages by one author. */
  isFirst: boolean
}

export type Row = MessageRow | { kind: 'day'; key: string; at: number } | { kind: 'new'; key: string }

type Said = Omit<MessageRow, 'kind' | 'isFirst'>

/** What the list of a room shows, from top to bottom. */
export function rowsOf(room: RoomView, me: User | undefined, name: string): Row[] {
  const rows: Row[] = []
  let previous: Said | undefined
  let isDivided = room.divider === undefined
  for (const said of allSaid(room, me, name)) {
    const isNewDay = !previous || !isSameDay(previous.at, said.at)
    const isDivider = !isDivided && !said.isOwn && said.seq !== undefined && said.seq > (room.divider ?? 0)
    if (isNewDay) rows.push({ kind: 'day', key: `day:${said.key}`, at: said.at })
    if (isDivider) rows.push({ kind: 'new', key: 'new' })
    isDivided ||= isDivider
    const isFirst = isNewDay || isDivider || !previous || !belongs(said, previous)
    rows.push({ kind: 'message', ...said, isFirst })
    previous = said
  }
  return rows
}

/** An own message has the same key before and after its confirmation, so that its row stays the same element. */
function allSaid({ messages, outgoing }: RoomView, me: User | undefined, name: string): Said[] {
  const author = me ?? { id: '', name }
  return [
    ...messages.map((message): Said => {
      const isOwn = message.from.id === me?.id
      const { id, seq, body, at, from } = message
      return { key: isOwn ? id : keyOf(message), id, seq, author: from, isOwn, body, at, state: 'sent' }
    }),
    ...outgoing.map(({ id, body, at, fault }): Said => {
      const said = { key: id, id, author, isOwn: true, body, at }
      return fault === undefined ? { ...said, state: 'pending' } : { ...said, state: 'failed', fault }
    }),
  ]
}

function belongs(said: Said, previous: Said): boolean {
  return said.author.id === previous.author.id && said.author.name === previous.author.name && said.at - previous.at < GROUP_MS
}
