import { expect, test } from 'vitest'
import { memory } from './fake'
import { Outbox } from './outbox'
import { Storage } from './storage'

test('what is in the outbox survives a reload in the order of writing', () => {
  const storage = memory()
  const outbox = new Outbox(storage)
  outbox.add('lobby', 'one')
  outbox.add('lobby', 'two')
  expect(new Outbox(storage).entries).toEqual(outbox.entries)
})

test('a changed entry keeps its place', () => {
  const outbox = new Outbox(memory())
  const one = outbox.add('lobby', 'one')
  outbox.add('lobby', 'two')
  outbox.put({ ...one, fault: 'no' })
  expect(outbox.entries.map(({ body, fault }) => [body, fault])).toEqual([
    ['one', 'no'],
    ['two', undefined],
  ])
})

test('the outbox is full at 200', () => {
  const outbox = new Outbox(memory())
  for (let n = 0; n < 199; n += 1) outbox.add('lobby', `${n}`)
  expect(outbox.isFull).toBe(false)
  outbox.add('lobby', 'last')
  expect(outbox.isFull).toBe(true)
})

test('two tabs do not take each other’s messages away', () => {
  const storage = memory()
  const [left, right] = [new Outbox(storage), new Outbox(storage)]
  const one = left.add('lobby', 'one')
  right.add('lobby', 'two')
  left.remove(one.id)
  expect(new Outbox(storage).entries.map(({ body }) => body)).toEqual(['two'])
})

test('what is stored and is no outbox counts as empty', () => {
  const storage = memory()
  for (const value of [7, { id: 1 }, [{ id: 'x' }], [null]]) {
    storage.write('outbox', value)
    expect(new Outbox(storage).entries).toEqual([])
  }
})

test('where storing is forbidden the outbox works on', () => {
  const forbidden = new Storage(() => {
    throw new Error('forbidden')
  })
  const outbox = new Outbox(forbidden)
  outbox.add('lobby', 'one')
  expect(outbox.entries).toHaveLength(1)
})
