import { expect, test } from 'vitest'
import { BOB, message, Room } from './fake.ts'
import { Speakers } from './speakers.ts'

const CID = { id: 'cid', name: 'Cid' }

test('whoever spoke last comes first, once, under the name of then', () => {
  const speakers = new Speakers()
  speakers.add(message(1, { at: 10 }))
  speakers.add(message(2, { at: 20, from: CID }))
  speakers.add(message(3, { at: 30, from: { ...BOB, name: 'Robert' } }))
  expect(speakers.list).toEqual([
    { id: 'bob', name: 'Robert', at: 30 },
    { id: 'cid', name: 'Cid', at: 20 },
  ])
})

test('history tells of those who spoke earlier, and of nobody anew', () => {
  const speakers = new Speakers()
  speakers.add(message(9, { at: 90 }))
  speakers.add(message(3, { at: 30, from: CID }))
  speakers.add(message(2, { at: 20 }))
  expect(speakers.list.map(({ id, at }) => [id, at])).toEqual([
    ['bob', 90],
    ['cid', 30],
  ])
})

test('fifty are remembered', () => {
  const speakers = new Speakers()
  for (let seq = 1; seq <= 60; seq += 1) speakers.add(message(seq, { from: { id: `u${seq}`, name: 'U' } }))
  expect(speakers.list).toHaveLength(50)
  expect(speakers.list[0]?.id).toBe('u60')
  expect(speakers.list.at(-1)?.id).toBe('u11')
})

test('reading further up makes nobody recently active', () => {
  const room = new Room('lobby')
  room.merge({ messages: [message(11, { at: 110 }), message(12, { at: 120 })] })
  room.merge({ messages: [message(1, { at: 10, from: CID })] })
  room.append(message(13, { at: 130, from: { id: 'dan', name: 'Dan' } }))
  expect(room.view([], undefined).speakers.map(({ id }) => id)).toEqual(['dan', 'bob'])
})
