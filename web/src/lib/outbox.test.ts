import { beforeEach, describe, expect, test, vi } from 'vitest'
import { announceChange, FakeLocks, settle } from './fake.ts'
import { Outbox } from './outbox.ts'
import { memoryStorage, Storage } from './storage.ts'
import { Tab, type Locks } from './tab.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

function open(storage: Storage = memoryStorage(), locks?: Locks) {
  const tab = new Tab(locks)
  const outbox = new Outbox(storage, tab)
  const onRooms = vi.fn<(rooms: string[]) => void>()
  outbox.inherit(onRooms)
  return { outbox, tab, storage, onRooms }
}

function bodies({ entries }: Outbox): string[] {
  return entries.map(({ body }) => body)
}

test('a changed entry keeps its place', () => {
  const { outbox } = open()
  const one = outbox.add('lobby', 'one')
  outbox.add('lobby', 'two')
  outbox.put({ ...one, fault: 'no' })
  expect(outbox.entries.map(({ body, fault }) => [body, fault])).toEqual([
    ['one', 'no'],
    ['two', undefined],
  ])
})

test('the outbox is full at 200', () => {
  const { outbox } = open()
  for (let n = 0; n < 199; n += 1) outbox.add('lobby', `${n}`)
  expect(outbox.isFull).toBe(false)
  outbox.add('lobby', 'last')
  expect(outbox.isFull).toBe(true)
})

test('an empty outbox leaves nothing in the storage', () => {
  const { outbox, storage } = open()
  outbox.remove(outbox.add('lobby', 'one').id)
  expect(storage.names('')).toEqual([])
})

test('what is stored and is no outbox counts as empty', () => {
  const storage = memoryStorage()
  for (const value of [7, { id: 1 }, [{ id: 'x' }], [null]]) {
    storage.write('outbox.gone', value)
    expect(open(storage).outbox.entries).toEqual([])
  }
})

test('where storing is forbidden the outbox works on', () => {
  const forbidden = new Storage(() => {
    throw new Error('forbidden')
  })
  const { outbox } = open(forbidden)
  outbox.add('lobby', 'one')
  expect(outbox.entries).toHaveLength(1)
})

describe('of two tabs', () => {
  test('neither has what the other is about to send', async () => {
    const storage = memoryStorage()
    const locks = new FakeLocks()
    const left = open(storage, locks)
    left.outbox.add('lobby', 'one')
    const right = open(storage, locks)
    right.outbox.add('lobby', 'two')
    await settle()
    expect(bodies(left.outbox)).toEqual(['one'])
    expect(bodies(right.outbox)).toEqual(['two'])
  })

  test('the one that stays takes over what the other leaves, in the order of writing', async () => {
    const storage = memoryStorage()
    const locks = new FakeLocks()
    const left = open(storage, locks)
    const right = open(storage, locks)
    left.outbox.add('kitchen', 'one')
    left.outbox.add('lobby', 'two')
    announceChange(`outbox.${left.tab.id}`)
    await settle()
    expect(bodies(right.outbox)).toEqual([])
    left.tab.close()
    await settle()
    expect(bodies(right.outbox)).toEqual(['one', 'two'])
    expect(right.onRooms).toHaveBeenLastCalledWith(['kitchen', 'lobby'])
    expect(storage.names('outbox.')).toEqual([`outbox.${right.tab.id}`])
  })

  test('only one takes over what a third leaves', async () => {
    const storage = memoryStorage()
    const locks = new FakeLocks()
    const gone = open(storage, locks)
    gone.outbox.add('lobby', 'one')
    const [left, right] = [open(storage, locks), open(storage, locks)]
    gone.tab.close()
    await settle()
    expect([...bodies(left.outbox), ...bodies(right.outbox)]).toEqual(['one'])
  })

  test('the later takes over all, where it cannot tell whether the earlier lives, which then yields', async () => {
    const storage = memoryStorage()
    const earlier = open(storage)
    earlier.outbox.add('lobby', 'one')
    const later = open(storage)
    announceChange(`outbox.${earlier.tab.id}`)
    expect(bodies(later.outbox)).toEqual(['one'])
    expect(bodies(earlier.outbox)).toEqual([])
    expect(earlier.onRooms).toHaveBeenLastCalledWith(['lobby'])
    later.outbox.add('lobby', 'two')
    announceChange(`outbox.${later.tab.id}`)
    expect(bodies(earlier.outbox)).toEqual([])
    expect(bodies(later.outbox)).toEqual(['one', 'two'])
  })
})
