import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Courier } from './courier.ts'
import { limitedStorage } from './fake.ts'
import { Outbox, type Entry } from './outbox.ts'
import { memoryStorage } from './storage.ts'
import { Tab } from './tab.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

/** Close code 4003 comes when refusals follow each other within the respite for as long as the patience. */
const PATIENCE_MS = 10_000
const RESPITE_MS = 2000
const ONE_WAY_MS = 20

/** A courier at one end, and a server at the other that takes so many messages at once, and so many a second. */
function open({ burst, perSecond }: { burst: number; perSecond: number }) {
  const outbox = new Outbox({ storage: memoryStorage(), tab: new Tab(), onInherit: () => {}, onYield: () => {}, onUnkept: () => {} })
  const [taken, refusedAt]: [string[], number[]] = [[], []]
  let [tokens, at] = [burst, Date.now()]
  const hear = ({ id, body }: Entry) => {
    tokens = Math.min(burst, tokens + ((Date.now() - at) / 1000) * perSecond)
    at = Date.now()
    if (tokens >= 1) {
      tokens -= 1
      taken.push(body)
      setTimeout(() => courier.confirm(id, taken.length), ONE_WAY_MS)
    } else {
      refusedAt.push(at)
      const retry_after_ms = Math.floor(((1 - tokens) / perSecond) * 1000) + 1
      setTimeout(() => courier.refuse({ id, code: 'rate_limited', detail: 'slow down', retry_after_ms }), ONE_WAY_MS)
    }
  }
  const courier = new Courier({
    outbox,
    canPublish: () => true,
    publish: (entry) => setTimeout(() => hear(entry), ONE_WAY_MS),
    onFailure: ({ fault }) => expect.fail(fault),
    onHold: () => {},
  })
  return { outbox, courier, taken, refusedAt }
}

/** For how long the server was told too much without a respite. */
function longestOffence(refusedAt: readonly number[]): number {
  let [longest, first, last] = [0, 0, -Infinity]
  for (const at of refusedAt) {
    if (at - last >= RESPITE_MS) first = at
    last = at
    longest = Math.max(longest, last - first)
  }
  return longest
}

describe('a full outbox gets through in order', () => {
  const written = Array.from({ length: 200 }, (_, n) => `${n}`)

  test.each([
    { burst: 100, perSecond: 50, refusals: 0 },
    { burst: 10, perSecond: 10, refusals: 1 },
    { burst: 20, perSecond: 2, refusals: 4 },
    { burst: 1, perSecond: 0.5, refusals: 9 },
  ])('at a server that takes $burst at once and $perSecond a second, with at most $refusals refusals', ({ refusals, ...server }) => {
    const { outbox, courier, taken, refusedAt } = open(server)
    for (const body of written) outbox.add('lobby', body)
    courier.flush()
    vi.advanceTimersByTime(10_000 + (1100 * written.length) / server.perSecond)
    expect(taken).toEqual(written)
    expect(outbox.entries).toEqual([])
    expect(refusedAt.length).toBeLessThanOrEqual(refusals)
    expect(longestOffence(refusedAt)).toBeLessThan(PATIENCE_MS)
  })

  test('at the speed of the way there and back, where the server takes all', () => {
    const { outbox, courier, taken } = open({ burst: 1000, perSecond: 1000 })
    for (const body of written) outbox.add('lobby', body)
    courier.flush()
    vi.advanceTimersByTime(2 * ONE_WAY_MS * written.length)
    expect(taken).toEqual(written)
  })
})

test('what is written goes out at once, ten at a time', () => {
  const { outbox, courier } = open({ burst: 100, perSecond: 50 })
  for (let n = 0; n < 15; n += 1) {
    outbox.add('lobby', `${n}`)
    courier.flush()
  }
  expect(outbox.entries.filter(({ sentAt }) => sentAt !== undefined)).toHaveLength(10)
})

test('what is discarded while something fails does not go out', () => {
  const { outbox, courier } = open({ burst: 100, perSecond: 50 })
  const [first, second] = [outbox.add('lobby', 'one'), outbox.add('lobby', 'two')]
  outbox.put({ ...first, sentAt: Date.now() - 200_000 })
  const other = new Courier({
    outbox,
    canPublish: () => true,
    publish: () => expect.fail('it went out'),
    onFailure: () => courier.forget([second]),
    onHold: () => {},
  })
  other.flush()
  expect(outbox.entries.map(({ body }) => body)).toEqual(['one'])
})

const MINUTE = 60_000

/** A message that went out on a connection that is gone, and what became of it by now. */
function sent() {
  const { storage } = limitedStorage()
  const outbox = new Outbox({ storage, tab: new Tab(), onInherit: () => {}, onYield: () => {}, onUnkept: () => {} })
  const went: string[] = []
  const courier = new Courier({
    outbox,
    canPublish: () => true,
    publish: () => went.push('again'),
    onFailure: ({ code }) => went.push(code),
    onHold: () => {},
  })
  outbox.add('lobby', 'hi')
  courier.flush()
  went.length = 0
  courier.interrupt()
  return { courier, outbox, went }
}

describe('how long ago a message went out', () => {
  test('is not shortened by a clock that is set back', () => {
    const { courier, went } = sent()
    vi.setSystemTime(Date.now() - 60 * MINUTE)
    vi.advanceTimersByTime(MINUTE)
    courier.flush()
    courier.interrupt()
    expect(went).toEqual(['again'])
    vi.advanceTimersByTime(MINUTE)
    courier.flush()
    expect(went).toEqual(['again', 'uncertain'])
  })

  test('counts the time in which the computer slept, when the other clock stood still', () => {
    const { courier, went } = sent()
    vi.setSystemTime(Date.now() + 3 * MINUTE)
    courier.flush()
    expect(went).toEqual(['uncertain'])
  })

  test('is not known where an earlier page sent it and the clock was set back since', () => {
    const { outbox, courier, went } = sent()
    const [entry] = outbox.entries
    if (entry) outbox.put({ ...entry, id: 'earlier', sentAt: Date.now() + MINUTE })
    courier.flush()
    expect(went).toEqual(['again', 'uncertain'])
  })
})
