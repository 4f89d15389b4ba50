import { beforeEach, describe, expect, test, vi } from 'vitest'
import { bodies, BOB, enterLobby, limitedStorage, lobby, ME, message, outgoing } from './fake.ts'
import { memoryStorage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

/** A chat that lost its connection with two messages unconfirmed and hears the replay on a new one. */
function reconnect() {
  const talk = enterLobby()
  talk.network.socket.live()
  talk.chat.send('lobby', 'one')
  talk.chat.send('lobby', 'two')
  const ids = talk.network.socket.published().map(({ id }) => id)
  talk.network.socket.end(1006)
  vi.advanceTimersByTime(500)
  talk.network.socket.welcome({ resumed: true })
  return { ...talk, ids }
}

describe('sending', () => {
  test('shows a message at once and as sent with its ack', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    expect(outgoing(chat)).toEqual([['hi', undefined]])
    network.socket.ack(network.socket.published()[0]?.id ?? '', 105)
    expect(outgoing(chat)).toEqual([])
    expect(lobby(chat).messages).toMatchObject([{ seq: 105, body: 'hi', from: ME }])
  })

  test('takes the echo for the ack, and both together for one', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'message', ...message(105, { id, from: ME, body: 'hi' }) })
    network.socket.ack(id, 105)
    expect(outgoing(chat)).toEqual([])
    expect(bodies(chat)).toEqual(['hi'])
  })

  test('puts an acked message below what was logged before it and comes later', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'mine')
    network.socket.ack(network.socket.published()[0]?.id ?? '', 105)
    network.socket.say({ type: 'message', ...message(104, { body: 'theirs' }) })
    expect(bodies(chat)).toEqual(['theirs', 'mine'])
  })

  test('does not take another’s message with the same id for the ack', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'message', ...message(105, { id, from: BOB }) })
    expect(outgoing(chat)).toHaveLength(1)
  })

  test('says why a message was refused, and tries again with the same id when told to', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'error', code: 'body_too_large', detail: 'too large', id })
    expect(outgoing(chat)).toEqual([['hi', 'This message is too long.']])
    chat.retry(id)
    expect(network.socket.published().map((frame) => frame.id)).toEqual([id, id])
    expect(outgoing(chat)).toEqual([['hi', undefined]])
  })

  test('forgets a failed message that is deleted', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'error', code: 'body_too_large', detail: 'too large', id })
    chat.discard(id)
    expect(outgoing(chat)).toEqual([])
  })

  test.each(['rate_limited', 'overloaded'] as const)('waits after %s and then goes on by itself, in order', (code) => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'one')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'error', code, detail: 'slow down', id, retry_after_ms: 3000 })
    chat.send('lobby', 'two')
    expect(chat.snapshot().hold).toEqual({ reason: code, until: performance.now() + 3000 })
    vi.advanceTimersByTime(2999)
    expect(network.socket.publishedBodies()).toEqual(['one'])
    vi.advanceTimersByTime(1)
    expect(network.socket.publishedBodies()).toEqual(['one', 'one'])
    expect(network.socket.published()[1]?.id).toBe(id)
    expect(chat.snapshot().hold).toBeUndefined()
    network.socket.ack(id, 105)
    vi.advanceTimersByTime(3000)
    expect(network.socket.publishedBodies()).toEqual(['one', 'one', 'two'])
  })

  test('waits for as long as the longest of several refusals asks for', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    for (const body of ['one', 'two']) chat.send('lobby', body)
    for (const [n, { id }] of network.socket.published().entries()) {
      network.socket.say({ type: 'error', code: 'overloaded', detail: 'no', id, retry_after_ms: n === 0 ? 3000 : 100 })
    }
    vi.advanceTimersByTime(2999)
    expect(network.socket.published()).toHaveLength(2)
    vi.advanceTimersByTime(1)
    expect(network.socket.publishedBodies()).toEqual(['one', 'two', 'one'])
  })

  test('does not wait for a clock that was set back', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    vi.setSystemTime(Date.now() - 3_600_000)
    chat.send('lobby', 'hi')
    expect(network.socket.publishedBodies()).toEqual(['hi'])
  })

  test('knows the way of a message, whether its ack or the message itself comes first', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    const sentAt = Date.now()
    for (const body of ['one', 'two']) chat.send('lobby', body)
    const [one = '', two = ''] = network.socket.published().map(({ id }) => id)
    vi.advanceTimersByTime(10)
    network.socket.ack(one, 105)
    network.socket.say({ type: 'message', ...message(106, { id: two, from: ME, body: 'two' }) })
    vi.advanceTimersByTime(10)
    network.socket.say({ type: 'message', ...message(105, { id: one, from: ME, body: 'one' }) })
    network.socket.ack(two, 106)
    const first = sentAt + 10
    const then = sentAt + 20
    expect(lobby(chat).messages.map(({ body, hops }) => [body, hops])).toEqual([
      ['one', { sentAt, instance: 'a', acceptedAt: first, loggedAt: first, ackedAt: first, shownAt: then }],
      ['two', { sentAt, instance: 'a', acceptedAt: then, loggedAt: then, ackedAt: then, shownAt: first }],
    ])
  })

  test('says once that the browser keeps nothing more, and sends all the same', () => {
    const { storage, fill } = limitedStorage()
    const { chat } = enterLobby({ storage })
    fill()
    chat.send('lobby', 'one')
    expect(chat.snapshot().problem).toContain('storage is full')
    expect(lobby(chat).outgoing).toMatchObject([{ body: 'one' }])
    chat.dismissProblem()
    chat.send('lobby', 'two')
    expect(chat.snapshot().problem).toBeUndefined()
  })

  test('tells of typing at once after a message', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.typing('lobby')
    chat.send('lobby', 'hi')
    chat.typing('lobby')
    expect(network.socket.sent.filter(({ type }) => type === 'typing')).toHaveLength(2)
  })

  test('is as fast as ever on a new connection', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'one')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', id, retry_after_ms: 20 })
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    for (const body of ['two', 'three']) chat.send('lobby', body)
    network.socket.live()
    expect(network.socket.publishedBodies()).toEqual(['one', 'two', 'three'])
  })

  test('tells of typing at most every two seconds', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    for (let key = 0; key < 30; key += 1) {
      chat.typing('lobby')
      vi.advanceTimersByTime(100)
    }
    expect(network.socket.sent.filter(({ type }) => type === 'typing')).toHaveLength(2)
  })
})

describe('after a reconnect', () => {
  test('the cursor is the highest seq that was received, and an ack is none', () => {
    const { chat, network } = enterLobby()
    network.socket.live(100)
    network.socket.say({ type: 'message', ...message(110) })
    network.socket.say({ type: 'heartbeat', seq: 120 })
    chat.send('lobby', 'hi')
    network.socket.ack(network.socket.published()[0]?.id ?? '', 130)
    network.socket.end(4002)
    vi.advanceTimersByTime(500)
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ type: 'hello', rooms: ['lobby'], resume: { seq: 120 } }])
  })

  test('nothing is sent before the replay is over', () => {
    const { network } = reconnect()
    expect(network.socket.published()).toEqual([])
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.publishedBodies()).toEqual(['one', 'two'])
  })

  test('what was replayed is not sent again, the rest is, under its old id', () => {
    const { chat, network, ids } = reconnect()
    network.socket.say({ type: 'message', ...message(105, { id: ids[0] ?? '', from: ME, body: 'one' }) })
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.published().map(({ id }) => id)).toEqual([ids[1]])
    expect(bodies(chat)).toEqual(['one'])
  })

  test('what is older than the server’s memory is left to the person', () => {
    const { chat, network } = reconnect()
    network.socket.end(1006)
    vi.advanceTimersByTime(1000)
    network.socket.welcome({ resumed: true, dedupe_ms: 1500 })
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.published()).toEqual([])
    expect(outgoing(chat).map(([, fault]) => fault !== undefined)).toEqual([true, true])
  })

  test('the server’s memory counts from when a message first went out, not from its repetition', () => {
    const { chat, network } = reconnect()
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.published()).toHaveLength(2)
    network.socket.end(1006)
    vi.advanceTimersByTime(1000)
    network.socket.welcome({ resumed: true, dedupe_ms: 1200 })
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.published()).toEqual([])
    expect(outgoing(chat).every(([, fault]) => fault !== undefined)).toBe(true)
  })

  test('what is a little younger than the server’s memory is sent again', () => {
    const { network } = reconnect()
    network.socket.end(1006)
    vi.advanceTimersByTime(1000)
    network.socket.welcome({ resumed: true, dedupe_ms: 1501 })
    network.socket.say({ type: 'live', seq: 110 })
    expect(network.socket.publishedBodies()).toEqual(['one', 'two'])
  })

  test('what was written during the outage is sent, however long it took', () => {
    const { chat, network } = enterLobby()
    chat.send('lobby', 'patient')
    vi.advanceTimersByTime(9000)
    network.socket.live()
    expect(network.socket.publishedBodies()).toEqual(['patient'])
  })

  test('a publish that met a draining server is sent to the next', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.send('lobby', 'hi')
    const id = network.socket.published()[0]?.id ?? ''
    network.socket.say({ type: 'error', code: 'draining', detail: 'draining', id })
    network.socket.say({ type: 'drain', reconnect_after_ms: 50 })
    network.socket.end(1012)
    expect(outgoing(chat)).toEqual([['hi', undefined]])
    vi.advanceTimersByTime(50)
    network.socket.live()
    expect(network.socket.published().map((frame) => frame.id)).toEqual([id])
  })

  test('a replayed message that is known is not shown twice, nor is one that moved', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    network.socket.say({ type: 'message', ...message(105) })
    network.socket.say({ type: 'message', ...message(105) })
    network.socket.say({ type: 'message', ...message(2_000_000, { id: 'm105', was: 105 }) })
    expect(bodies(chat)).toEqual(['message 105'])
  })

  test('a reload sends what was left unsent', () => {
    const storage = memoryStorage()
    const before = enterLobby({ storage })
    before.chat.send('lobby', 'kept')
    const after = enterLobby({ storage })
    expect(outgoing(after.chat)).toEqual([['kept', undefined]])
    after.network.socket.live()
    expect(after.network.socket.publishedBodies()).toEqual(['kept'])
  })

  test('a reload finds what was written before the first connection, also where no tab sees others', () => {
    const before = enterLobby()
    before.chat.send('lobby', 'kept')
    expect(before.storage.names('outbox.')).toHaveLength(1)
    before.chat.retryNow()
    expect(before.storage.names('outbox.')).toHaveLength(1)
  })

  test('a reload does not send as new what went out when the storage was full', () => {
    const { storage, fill } = limitedStorage()
    const before = enterLobby({ storage })
    before.chat.send('lobby', 'hi')
    fill()
    before.network.socket.live()
    expect(before.network.socket.publishedBodies()).toEqual(['hi'])
    vi.advanceTimersByTime(600_000)
    const after = enterLobby({ storage })
    after.network.socket.live()
    expect(after.network.socket.publishedBodies()).toEqual([])
  })

  test('the outage is known from its beginning to its end', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    expect(chat.snapshot().outageSince).toBeUndefined()
    const lostAt = performance.now()
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    expect(chat.snapshot().outageSince).toBe(lostAt)
    network.socket.live()
    expect(chat.snapshot().outageSince).toBeUndefined()
  })
})
