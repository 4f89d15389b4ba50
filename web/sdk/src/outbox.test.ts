import { beforeEach, describe, expect, test, vi } from 'vitest'
import { announceChange, FakeLocks, limitedStorage, settle } from './fake.ts'
import { Outbox, type Entry } from './outbox.ts'
import { memoryStorage, Storage } from './storage.ts'
import { Tab, type Locks } from './tab.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

function open(storage: Storage = memoryStorage(), locks?: Locks) {
  const tab = new Tab(locks)
  const [onInherit, onYield, onUnkept] = [vi.fn<(rooms: readonly string[]) => void>(), vi.fn<(entry: Entry) => void>(), vi.fn<() => void>()]
  const outbox = new Outbox({ storage, tab, onInherit, onYield, onUnkept })
  outbox.inherit()
  return { outbox, tab, storage, onInherit, onYield, onUnkept }
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
  for (const value of [7, { id: 1 }, [{ id: 'x' }], null, { id: 'x', room: 'lobby', body: 'no date' }]) {
    storage.write('outbox.gone.1', value)
    expect(open(storage).outbox.entries).toEqual([])
    expect(storage.names('')).toEqual([])
  }
})

test('where storing is forbidden the outbox works on, and says so once', () => {
  const forbidden = new Storage(() => {
    throw new Error('forbidden')
  })
  const { outbox, onUnkept } = open(forbidden)
  outbox.add('lobby', 'one')
  outbox.add('lobby', 'two')
  expect(bodies(outbox)).toEqual(['one', 'two'])
  expect(onUnkept).toHaveBeenCalledOnce()
})

test('a change stores one entry, not all of them', () => {
  const { storage, setItem } = limitedStorage()
  const { outbox } = open(storage)
  for (const body of ['one', 'two', 'three']) outbox.add('lobby', body)
  expect(setItem).toHaveBeenCalledTimes(3)
  for (const [, value] of setItem.mock.calls) expect(JSON.parse(value)).toMatchObject({ room: 'lobby' })
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
    announceChange(`outbox.${left.tab.id}.1`)
    await settle()
    expect(bodies(right.outbox)).toEqual([])
    left.tab.close()
    await settle()
    expect(bodies(right.outbox)).toEqual(['one', 'two'])
    expect(right.onInherit).toHaveBeenLastCalledWith(['kitchen', 'lobby'])
    expect(storage.names('outbox.')).toEqual([`outbox.${right.tab.id}.1`, `outbox.${right.tab.id}.2`])
  })

  test('the one that stays keeps the order of more than nine', async () => {
    const { storage } = limitedStorage()
    const left = open(storage)
    const written = Array.from({ length: 25 }, (_, n) => `${n}`)
    for (const body of written) left.outbox.add('lobby', body)
    expect(bodies(open(storage).outbox)).toEqual(written)
  })

  test('the one that stays lets go of nothing for which there is no room twice, until it was sent', () => {
    const { storage, fill } = limitedStorage()
    open(storage).outbox.add('lobby', 'one')
    fill()
    const heir = open(storage)
    expect(bodies(heir.outbox)).toEqual(['one'])
    expect(storage.names('outbox.')).toHaveLength(1)
    heir.outbox.remove(heir.outbox.entries[0]?.id ?? '')
    expect(storage.names('outbox.')).toEqual([])
  })

  test('what was copied and not yet let go of is there once', () => {
    const storage = memoryStorage()
    open(storage).outbox.add('lobby', 'one')
    const [name = ''] = storage.names('outbox.')
    storage.write('outbox.another.1', storage.read(name, (value): value is Entry => value !== null))
    expect(bodies(open(storage).outbox)).toEqual(['one'])
  })

  test('the later takes over all, where the browser forbids to see others', async () => {
    const storage = memoryStorage()
    open(storage).outbox.add('lobby', 'one')
    const { outbox, tab } = open(storage, {
      request: async () => Promise.reject(new DOMException('not here', 'SecurityError')),
    })
    await settle()
    expect(bodies(outbox)).toEqual(['one'])
    expect(tab.seesOthers).toBe(false)
  })

  test('one waits once for the end of the other, however much that writes', () => {
    const storage = memoryStorage()
    const locks = new FakeLocks()
    const request = vi.spyOn(locks, 'request')
    const [left] = [open(storage, locks), open(storage, locks)]
    for (const body of ['one', 'two', 'three']) left.outbox.add('lobby', body)
    for (const name of storage.names('outbox.')) announceChange(name)
    const awaited = request.mock.calls.filter(([name]) => name === `hubbub.tab.${left.tab.id}`)
    // it holds its own, and the other waits for that
    expect(awaited).toHaveLength(2)
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
    announceChange(`outbox.${earlier.tab.id}.1`)
    expect(bodies(later.outbox)).toEqual(['one'])
    expect(bodies(earlier.outbox)).toEqual([])
    expect(earlier.onYield).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ body: 'one' }))
    later.outbox.add('lobby', 'two')
    announceChange(`outbox.${later.tab.id}.2`)
    expect(bodies(earlier.outbox)).toEqual([])
    expect(bodies(later.outbox)).toEqual(['one', 'two'])
  })
})
