import { expect, test } from 'vitest'
import { message } from './fake.ts'
import { Timeline } from './timeline.ts'

function seqs({ messages }: Timeline): number[] {
  return messages.map(({ seq }) => seq)
}

test('messages stand in the order of seq, however they come', () => {
  const timeline = new Timeline()
  for (const seq of [5, 1, 9, 3]) timeline.append(message(seq))
  expect(seqs(timeline)).toEqual([1, 3, 5, 9])
})

test('a message with a known id is ignored', () => {
  const timeline = new Timeline()
  expect(timeline.append(message(5, { id: 'x' }))).toBe(true)
  expect(timeline.append(message(9, { id: 'x' }))).toBe(false)
  expect(seqs(timeline)).toEqual([5])
})

test('the same id from another sender is another message', () => {
  const timeline = new Timeline()
  timeline.append(message(5, { id: 'x' }))
  expect(timeline.append(message(6, { id: 'x', from: { id: 'cid', name: 'Cid' } }))).toBe(true)
})

test('a returned message whose old place is known is ignored', () => {
  const timeline = new Timeline()
  timeline.append(message(5))
  expect(timeline.append(message(900, { id: 'other', was: 5 }))).toBe(false)
  expect(timeline.append(message(901, { id: 'another', was: 6 }))).toBe(true)
})

test('pages come in between, whatever of them is known', () => {
  const timeline = new Timeline()
  timeline.append(message(5))
  timeline.merge([message(3), message(4)])
  timeline.merge([message(4), message(6)])
  expect(seqs(timeline)).toEqual([3, 4, 5, 6])
})

test('a page holds a message that moved only once', () => {
  const timeline = new Timeline()
  timeline.merge([message(3), message(9, { id: 'm3', was: 3 })])
  expect(seqs(timeline)).toEqual([3])
})

test('of too many messages the oldest go, and come back only as history', () => {
  const timeline = new Timeline()
  for (let seq = 1; seq <= 1100; seq += 1) timeline.append(message(seq))
  expect(timeline.trim(1000)).toBe(false)
  timeline.append(message(1101))
  expect(timeline.trim(1000)).toBe(true)
  expect(timeline.messages).toHaveLength(1000)
  expect(timeline.oldest?.seq).toBe(102)
  timeline.merge([message(101)])
  expect(timeline.oldest?.seq).toBe(101)
})

test('what is before a place can be dropped', () => {
  const timeline = new Timeline()
  for (const seq of [1, 2, 3]) timeline.append(message(seq))
  timeline.dropBefore(3)
  expect(seqs(timeline)).toEqual([3])
})

test('the way of a message grows hop by hop, and the message seen before stays as it was', () => {
  const timeline = new Timeline()
  timeline.append(message(5))
  const [before] = timeline.messages
  expect(timeline.trace(5, { sentAt: 1 })).toBe(true)
  expect(timeline.trace(5, { ackedAt: 2 })).toBe(true)
  expect(timeline.trace(6, { ackedAt: 2 })).toBe(false)
  expect(timeline.messages[0]?.hops).toEqual({ sentAt: 1, ackedAt: 2 })
  expect(before?.hops).toBeUndefined()
})

test('a returned message stands where it was seen first', () => {
  const timeline = new Timeline()
  for (const seq of [3, 5, 9]) timeline.append(message(seq))
  timeline.append(message(900, { id: 'once', was: 4 }))
  timeline.append(message(901, { id: 'twice', was: 700, first: 6 }))
  timeline.merge([message(8)])
  expect(seqs(timeline)).toEqual([3, 900, 5, 901, 8, 9])
  expect(timeline.trace(901, { shownAt: 1 })).toBe(true)
  timeline.dropBefore(6)
  expect(seqs(timeline)).toEqual([901, 8, 9])
})
