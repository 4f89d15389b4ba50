import { expect, test } from 'vitest'
import type { Message } from 'hubbub-client'
import { BOB, ME, message, Room } from 'hubbub-client/fake'
import { Rows, type Row } from './rows'

const NOON = new Date(2026, 5, 1, 12).getTime()
const MINUTE = 60_000

/** A lobby in which this is all. */
function lobby(messages: Message[]) {
  const room = new Room('lobby')
  room.timeline.merge(messages)
  room.olderThan = null
  return room
}

function told({ key, state, isFirst, opensDay, isDivided, followsGap }: Row): string {
  const marks = [followsGap && 'gap', opensDay && 'day', isDivided && 'new', isFirst && 'first', key, state]
  return marks.filter(Boolean).join(' ')
}

function rows(messages: Message[], divider?: number) {
  const room = lobby(messages)
  room.divider = divider
  return new Rows().of(room.view([{ id: 'mine', room: 'lobby', body: 'b', at: NOON + MINUTE }], ME), ME, 'Ann').map(told)
}

test('messages of one author within five minutes are one group', () => {
  const at = [0, 1, 7].map((minutes) => NOON + minutes * MINUTE)
  expect(rows(at.map((time, index) => message(index + 1, { at: time })))).toEqual([
    'day first bob:lobby:m1 sent',
    'bob:lobby:m2 sent',
    'first bob:lobby:m3 sent',
    'first mine pending',
  ])
})

test('one’s own message has the same key before and after it was sent', () => {
  expect(rows([message(1, { at: NOON, from: ME, id: 'earlier' })])).toEqual(['day first earlier sent', 'mine pending'])
})

test('what changes no row leaves the very same list', () => {
  const room = lobby([message(1, { at: NOON }), message(2, { at: NOON })])
  const list = new Rows()
  const before = list.of(room.view([], ME), ME, 'Ann')
  room.addTypists([BOB])
  expect(list.of(room.view([], ME), ME, 'Ann')).toBe(before)
  room.append(message(3, { at: NOON }))
  expect(list.of(room.view([], ME), ME, 'Ann')).not.toBe(before)
})

test('each day begins with its name', () => {
  const yesterday = NOON - 24 * 60 * MINUTE
  expect(rows([message(1, { at: yesterday }), message(2, { at: NOON })])).toEqual([
    'day first bob:lobby:m1 sent',
    'day first bob:lobby:m2 sent',
    'first mine pending',
  ])
})

test('the first unread message of another has the divider above it', () => {
  const messages = [1, 2, 3, 4].map((seq) => message(seq, { at: NOON, from: seq === 2 ? ME : BOB }))
  expect(rows(messages, 1)).toEqual([
    'day first bob:lobby:m1 sent',
    'first m2 sent',
    'new first bob:lobby:m3 sent',
    'bob:lobby:m4 sent',
    'first mine pending',
  ])
})

test('older messages leave the rows below them as they are', () => {
  const room = lobby([message(5, { at: NOON }), message(6, { at: NOON })])
  room.olderThan = 1
  const memory = new Rows()
  const before = memory.of(room.view([], ME), ME, 'Ann')
  expect(before.map(told)).toEqual(['first bob:lobby:m5 sent', 'bob:lobby:m6 sent'])
  room.merge({ messages: [message(4, { at: NOON })] })
  room.olderThan = null
  const after = memory.of(room.view([], ME), ME, 'Ann')
  expect(after.map(told)).toEqual(['day first bob:lobby:m4 sent', 'first bob:lobby:m5 sent', 'bob:lobby:m6 sent'])
  expect(after.slice(1).every((row, index) => row === before[index])).toBe(true)
})

test('a message that comes between two of one author gives the second its own heading', () => {
  const room = lobby([message(1, { at: NOON }), message(3, { at: NOON })])
  const memory = new Rows()
  memory.of(room.view([], ME), ME, 'Ann')
  room.append(message(2, { at: NOON, from: ME, id: 'mine' }))
  expect(memory.of(room.view([], ME), ME, 'Ann').map(told)).toEqual(['day first bob:lobby:m1 sent', 'first mine sent', 'first bob:lobby:m3 sent'])
})

test('the divider stays one when more comes', () => {
  const room = lobby([message(1, { at: NOON }), message(2, { at: NOON })])
  room.divider = 1
  const memory = new Rows()
  memory.of(room.view([], ME), ME, 'Ann')
  room.append(message(3, { at: NOON }))
  expect(memory.of(room.view([], ME), ME, 'Ann').filter((row) => row.isDivided)).toHaveLength(1)
})

test('of ten thousand rows only the new one is made', () => {
  const room = lobby(Array.from({ length: 10_000 }, (_, index) => message(index + 1, { at: NOON })))
  const memory = new Rows()
  const before = memory.of(room.view([], ME), ME, 'Ann')
  room.append(message(10_001, { at: NOON }))
  const after = memory.of(room.view([], ME), ME, 'Ann')
  expect(after.filter((row, index) => row !== before[index])).toHaveLength(1)
})

test('one’s own message keeps its heading when it is confirmed, however many went before it', () => {
  const room = lobby([])
  const memory = new Rows()
  const unsent = { id: 'mine', room: 'lobby', body: 'b', at: NOON }
  for (let seq = 1; seq <= 2000; seq += 1) room.append(message(seq, { id: `own-${seq}`, from: ME, at: NOON - 10 * MINUTE }))
  const pending = memory.of(room.view([unsent], ME), ME, 'Ann').at(-1)
  expect(pending && told(pending)).toBe('first mine pending')
  // by the clock of the server it belongs to the group above it
  room.append(message(2001, { id: 'mine', from: ME, body: 'b', at: NOON - 10 * MINUTE }))
  const sent = memory.of(room.view([], ME), ME, 'Ann').at(-1)
  expect(sent && told(sent)).toBe('first mine sent')
})

test('where the log was lost, it says so once, between what was kept', () => {
  const room = lobby([message(3, { at: NOON }), message(9, { at: NOON }), message(10, { at: NOON })])
  room.merge({ messages: [], gaps: [[5, 7]] })
  room.merge({ messages: [message(1, { at: NOON })], gaps: [[5, 7]] })
  expect(new Rows().of(room.view([], ME), ME, 'Ann').map(told)).toEqual([
    'day first bob:lobby:m1 sent',
    'bob:lobby:m3 sent',
    'gap first bob:lobby:m9 sent',
    'bob:lobby:m10 sent',
  ])
})
