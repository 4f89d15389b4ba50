import { expect, test } from 'vitest'
import { BOB, ME, message } from '@/lib/fake'
import { Room } from '@/lib/room'
import type { Message } from '@/lib/protocol'
import { rowsOf } from './rows'

const NOON = new Date(2026, 5, 1, 12).getTime()
const MINUTE = 60_000

function rows(messages: Message[], divider?: number) {
  const room = new Room('lobby')
  room.timeline.merge(messages)
  room.divider = divider
  const shown = rowsOf(room.view([{ id: 'mine', room: 'lobby', body: 'b', at: NOON + MINUTE }], ME), ME, 'Ann')
  return shown.map((row) => (row.kind === 'message' ? `${row.isFirst ? 'first' : 'next'} ${row.key} ${row.state}` : row.kind))
}

test('messages of one author within five minutes are one group', () => {
  const at = [0, 1, 7].map((minutes) => NOON + minutes * MINUTE)
  expect(rows(at.map((time, index) => message(index + 1, { at: time })))).toEqual([
    'day',
    'first bob:m1 sent',
    'next bob:m2 sent',
    'first bob:m3 sent',
    'first mine pending',
  ])
})

test('one’s own message has the same key before and after it was sent', () => {
  expect(rows([message(1, { at: NOON, from: ME, id: 'earlier' })])).toEqual(['day', 'first earlier sent', 'next mine pending'])
})

test('a day begins with its name', () => {
  const yesterday = NOON - 24 * 60 * MINUTE
  expect(rows([message(1, { at: yesterday }), message(2, { at: NOON })]).filter((row) => row === 'day')).toHaveLength(2)
})

test('the first unread message of another has the divider above it', () => {
  const messages = [1, 2, 3].map((seq) => message(seq, { at: NOON, from: seq === 2 ? ME : BOB }))
  expect(rows(messages, 1)).toEqual([
    'day',
    'first bob:m1 sent',
    'first m2 sent',
    'new',
    'first bob:m3 sent',
    'first mine pending',
  ])
})
