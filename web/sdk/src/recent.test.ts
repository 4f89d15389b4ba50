import { expect, test, vi } from 'vitest'
import { message } from './fake.ts'
import { Recent } from './recent.ts'

test('a message is new once', () => {
  const recent = new Recent()
  expect(recent.take(message(5))).toBe(true)
  expect(recent.take(message(5))).toBe(false)
  expect(recent.take(message(6))).toBe(true)
})

test('a message that moved is known by its id and by its old place', () => {
  const recent = new Recent()
  recent.take(message(5))
  expect(recent.take(message(900, { id: 'm5', was: 5 }))).toBe(false)
  expect(recent.take(message(901, { id: 'other', was: 5 }))).toBe(false)
})

test('the same id from another sender is another message', () => {
  const recent = new Recent()
  recent.take(message(5, { id: 'x' }))
  expect(recent.take(message(6, { id: 'x', from: { id: 'cid', name: 'Cid' } }))).toBe(true)
})

test('what cannot come again is forgotten', () => {
  const recent = new Recent()
  recent.windowMs = 1000
  recent.take(message(5, { id: 'x', at: 1_000_000 }))
  expect(recent.take(message(900, { id: 'x', at: 1_001_000 }))).toBe(false)
  expect(recent.take(message(901, { id: 'x', at: 1_001_001 }))).toBe(true)
})

test('of more than fifty thousand messages at a time the newest are known', () => {
  const recent = new Recent()
  for (let seq = 1; seq <= 50_100; seq += 1) recent.take(message(seq, { at: 1_000_000 }))
  expect(recent.take(message(101, { at: 1_000_000 }))).toBe(false)
  expect(recent.take(message(1, { at: 1_000_000 }))).toBe(true)
})

test('an hour of silence makes nothing forgotten: what was put back meanwhile comes after it', () => {
  vi.useFakeTimers()
  const recent = new Recent()
  const said = message(5)
  recent.take(said)
  vi.advanceTimersByTime(3_600_000)
  expect(recent.take({ ...said, seq: 900, was: 5 })).toBe(false)
  expect(recent.take(message(901))).toBe(true)
})
