import { beforeEach, describe, expect, test, vi } from 'vitest'
import { announceChange, BOB, enterLobby, FakeLocks, ME, message, settle } from './fake.ts'
import { memoryStorage } from './storage.ts'
import type { Chat } from './chat.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

function lobby(chat: Chat) {
  const room = chat.snapshot().rooms.find(({ name }) => name === 'lobby')
  if (!room) throw new Error('not in the lobby')
  return room
}

function bodies(chat: Chat): string[] {
  return lobby(chat).messages.map(({ body }) => body)
}

function outgoing(chat: Chat): [string, string | undefined][] {
  return lobby(chat).outgoing.map(({ body, fault }) => [body, fault])
}

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

/** A chat that knows these messages, lost its connection, and hears the replay on a new one. */
async function resume(...seqs: number[]) {
  const talk = enterLobby()
  talk.history.mockResolvedValueOnce({ messages: seqs.map((seq) => message(seq)), next: null })
  talk.network.socket.live(seqs.at(-1))
  await settle()
  talk.network.socket.end(1006)
  vi.advanceTimersByTime(500)
  talk.network.socket.welcome()
  return talk
}

/** A chat in a lobby where ten thousand messages were said. */
function crowded() {
  const talk = enterLobby()
  talk.network.socket.live()
  for (let seq = 1; seq <= 10_000; seq += 1) talk.network.socket.say({ type: 'message', ...message(seq) })
  return talk
}

/** Two tabs that share a storage, both connected, and what tells the second what the first changed. */
function twoTabs() {
  const storage = memoryStorage()
  const locks = new FakeLocks()
  const [left, right] = [enterLobby({ storage, locks }), enterLobby({ storage, locks })]
  for (const { network } of [left, right]) network.socket.live()
  return { left, right }
}

describe('the session', () => {
  test('is made once, kept, and shown with each hello', () => {
    const storage = memoryStorage()
    const sessions = [1, 2].map(() => {
      const { network } = enterLobby({ storage })
      network.socket.open()
      const [hello] = network.socket.sent
      return hello?.type === 'hello' ? hello.session : undefined
    })
    expect(sessions[0]).toMatch(/^[A-Za-z0-9_-]{22}$/)
    expect(sessions[1]).toBe(sessions[0])
  })

  test('that the server made takes the place of ours', () => {
    const { network, storage } = enterLobby()
    network.socket.welcome({ session: 'MadeByTheServerAAAAAAA' })
    expect(storage.read('session', (value) => typeof value === 'string')).toBe('MadeByTheServerAAAAAAA')
  })

  test('that the server refuses is made anew', () => {
    const { network } = enterLobby()
    network.socket.open()
    network.socket.say({ type: 'error', code: 'invalid_session', detail: 'no' })
    expect(network.sockets).toHaveLength(2)
  })
})

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
    expect(outgoing(chat)).toEqual([['hi', 'too large']])
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
    expect(chat.snapshot().hold).toEqual({ reason: code, until: Date.now() + 3000 })
    vi.advanceTimersByTime(2999)
    expect(network.socket.publishedBodies()).toEqual(['one'])
    vi.advanceTimersByTime(1)
    expect(network.socket.publishedBodies()).toEqual(['one', 'one', 'two'])
    expect(network.socket.published()[1]?.id).toBe(id)
    expect(chat.snapshot().hold).toBeUndefined()
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

  test('the outage is known from its beginning to its end', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    expect(chat.snapshot().outageSince).toBeUndefined()
    const lostAt = Date.now()
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    expect(chat.snapshot().outageSince).toBe(lostAt)
    network.socket.live()
    expect(chat.snapshot().outageSince).toBeUndefined()
  })
})

describe('history', () => {
  test('is loaded once the room is live and joined with what came meanwhile', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValue({ messages: [message(98), message(99)], next: 98 })
    expect(history).not.toHaveBeenCalled()
    network.socket.live()
    network.socket.say({ type: 'message', ...message(101) })
    await settle()
    expect(bodies(chat)).toEqual(['message 98', 'message 99', 'message 101'])
    expect(lobby(chat)).toMatchObject({ history: 'loaded', hasOlder: true, unread: 0 })
  })

  test('goes further back on demand', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValueOnce({ messages: [message(99)], next: 99 })
    network.socket.live()
    await settle()
    history.mockResolvedValueOnce({ messages: [message(97)], next: null })
    await chat.loadOlder('lobby')
    expect(history).toHaveBeenLastCalledWith('lobby', { before: 99 })
    expect(bodies(chat)).toEqual(['message 97', 'message 99'])
    expect(lobby(chat).hasOlder).toBe(false)
  })

  test('that fails says so and can be tried again', async () => {
    const { chat, network, history } = enterLobby()
    history.mockRejectedValueOnce(new Error('away'))
    network.socket.live()
    await settle()
    expect(lobby(chat).history).toBe('failed')
    await chat.loadOlder('lobby')
    expect(lobby(chat).history).toBe('loaded')
  })

  test('confirms one’s own that it holds', async () => {
    const { chat, network, history, storage } = enterLobby()
    chat.send('lobby', 'kept')
    const id = lobby(chat).outgoing[0]?.id ?? ''
    history.mockResolvedValue({ messages: [message(99, { id, from: ME, body: 'kept' })], next: null })
    network.socket.live()
    await settle()
    expect(outgoing(chat)).toEqual([])
    expect(storage.names('outbox.')).toEqual([])
  })
})

describe('a reset', () => {
  test('sets the cursor, even backwards, and says so once it loaded what there is', async () => {
    const { chat, network } = await resume(98, 99)
    network.socket.say({ type: 'reset', seq: 50, reason: 'unknown_cursor' })
    expect(chat.snapshot().cursor).toBe(50)
    network.socket.say({ type: 'live', seq: 50 })
    expect(lobby(chat).hasGap).toBe(false)
    await settle()
    expect(lobby(chat).hasGap).toBe(true)
    chat.dismissGap('lobby')
    expect(lobby(chat).hasGap).toBe(false)
  })

  test('loads back until what was there', async () => {
    const { chat, network, history } = await resume(98, 99)
    history.mockResolvedValueOnce({ messages: [message(300)], next: 300 })
    history.mockResolvedValueOnce({ messages: [message(99), message(200)], next: 99 })
    network.socket.say({ type: 'reset', seq: 300, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 300 })
    await settle()
    expect(bodies(chat)).toEqual([98, 99, 200, 300].map((seq) => `message ${seq}`))
    expect(history.mock.calls).toEqual([['lobby', {}], ['lobby', {}], ['lobby', { before: 300 }]])
  })

  test('drops the far side of a gap too wide to close', async () => {
    const { chat, network, history } = await resume(98, 99)
    for (const seq of [1000, 900, 800, 700]) history.mockResolvedValueOnce({ messages: [message(seq)], next: seq })
    network.socket.say({ type: 'reset', seq: 1000, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 1000 })
    await settle()
    expect(bodies(chat)).toEqual([700, 800, 900, 1000].map((seq) => `message ${seq}`))
    expect(lobby(chat).hasOlder).toBe(true)
  })

  test('keeps what was there when the log was lost', async () => {
    const { chat, network } = await resume(98, 99)
    network.socket.say({ type: 'reset', seq: 2_000_000, reason: 'unknown_cursor' })
    network.socket.say({ type: 'live', seq: 2_000_000 })
    await settle()
    expect(bodies(chat)).toEqual(['message 98', 'message 99'])
  })
})

describe('rooms', () => {
  test('are joined and left on the connection that stands, and named in the next hello', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.enter('kitchen')
    chat.leave('lobby')
    expect(network.socket.sent.slice(1)).toEqual([
      { type: 'join', room: 'kitchen' },
      { type: 'leave', room: 'lobby' },
    ])
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ rooms: ['kitchen'] }])
  })

  test('are joined and left after the welcome when that was done after the hello', () => {
    const { chat, network } = enterLobby()
    network.socket.open()
    chat.enter('kitchen')
    chat.leave('lobby')
    network.socket.greet()
    expect(network.socket.sent.slice(1)).toEqual([
      { type: 'leave', room: 'lobby' },
      { type: 'join', room: 'kitchen' },
    ])
  })

  test('load their history when they were joined', async () => {
    const { chat, network, history } = enterLobby()
    network.socket.live()
    await settle()
    chat.enter('kitchen')
    network.socket.say({ type: 'joined', room: 'kitchen', seq: 105 })
    await settle()
    expect(history).toHaveBeenLastCalledWith('kitchen', {})
  })

  test('are limited to as many as the server allows', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    for (let n = 1; n < 32; n += 1) expect(chat.enter(`r${n}`)).toBe(true)
    expect(chat.enter('r32')).toBe(false)
    expect(chat.snapshot().problem).toContain('32 rooms')
    expect(chat.snapshot().active?.name).toBe('r31')
  })

  test('count what others said while nobody looked', async () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    await settle()
    chat.enter('kitchen')
    network.socket.say({ type: 'message', ...message(105) })
    network.socket.say({ type: 'message', ...message(106, { from: ME }) })
    expect(lobby(chat).unread).toBe(1)
    chat.enter('lobby')
    expect(lobby(chat).divider).toBe(0)
    chat.setReading(true)
    expect(lobby(chat).unread).toBe(0)
  })

  test('that are entered during an outage do not hurry the next attempt', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    network.socket.end(1006)
    chat.enter('kitchen')
    expect(network.sockets).toHaveLength(1)
  })

  test('that are new have nothing unread in them, however early one looks', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValue({ messages: [message(98), message(99)], next: null })
    chat.setReading(true)
    network.socket.live()
    await settle()
    expect(lobby(chat)).toMatchObject({ unread: 0, divider: undefined })
  })

  test('keep the mark of what was new until there is more', async () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    await settle()
    network.socket.say({ type: 'message', ...message(105) })
    network.socket.say({ type: 'message', ...message(106) })
    chat.setReading(true)
    chat.setReading(false)
    expect(lobby(chat).divider).toBe(0)
    network.socket.say({ type: 'message', ...message(107) })
    expect(lobby(chat).divider).toBe(106)
  })

  test('remember over a reload what was read', async () => {
    const storage = memoryStorage()
    const before = enterLobby({ storage })
    before.network.socket.live()
    await settle()
    before.network.socket.say({ type: 'message', ...message(105) })
    before.chat.setReading(true)
    const after = enterLobby({ storage })
    after.history.mockResolvedValue({ messages: [message(105), message(106)], next: null })
    after.network.socket.live(106)
    await settle()
    expect(lobby(after.chat)).toMatchObject({ unread: 1, divider: 105 })
  })

  test('show who types for five seconds, and not after the message came', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    network.socket.say({ type: 'typing', room: 'lobby', from: [BOB, ME, { id: 'cid', name: 'Cid' }] })
    expect(lobby(chat).typists).toEqual(['Bob', 'Cid'])
    network.socket.say({ type: 'message', ...message(105) })
    expect(lobby(chat).typists).toEqual(['Cid'])
    vi.advanceTimersByTime(5000)
    expect(lobby(chat).typists).toEqual([])
  })
})

describe('two tabs of one person', () => {
  test('both show what was sent from one of them', () => {
    const { left, right } = twoTabs()
    left.chat.send('lobby', 'hi')
    const id = left.network.socket.published()[0]?.id ?? ''
    for (const { network } of [left, right]) network.socket.say({ type: 'message', ...message(105, { id, from: ME }) })
    expect(lobby(left.chat).messages.map(({ seq }) => seq)).toEqual([105])
    expect(lobby(right.chat).messages.map(({ seq }) => seq)).toEqual([105])
  })

  test('what one left unsent is sent by the other, in a room it was not in', async () => {
    const storage = memoryStorage()
    const before = enterLobby({ storage })
    before.chat.enter('kitchen')
    before.chat.send('kitchen', 'kept')
    storage.write('rooms', [{ name: 'lobby' }])
    const after = enterLobby({ storage })
    after.network.socket.live()
    expect(after.network.socket.sent).toMatchObject([
      { type: 'hello', rooms: ['lobby', 'kitchen'] },
      { type: 'publish', room: 'kitchen', body: 'kept' },
    ])
    expect(after.chat.snapshot().rooms.map(({ name }) => name)).toEqual(['lobby', 'kitchen'])
  })

  test('one follows what the other joins, leaves, reads, and is called', async () => {
    const { left, right } = twoTabs()
    await settle()
    for (const { network } of [left, right]) network.socket.say({ type: 'message', ...message(105) })
    expect(lobby(right.chat).unread).toBe(1)
    left.chat.setReading(true)
    left.chat.enter('kitchen')
    announceChange('rooms')
    expect(lobby(right.chat).unread).toBe(0)
    expect(right.network.socket.sent.at(-1)).toEqual({ type: 'join', room: 'kitchen' })
    left.chat.leave('kitchen')
    announceChange('rooms')
    expect(right.network.socket.sent.at(-1)).toEqual({ type: 'leave', room: 'kitchen' })
    left.chat.rename('Anna')
    announceChange('name')
    expect(right.chat.snapshot().name).toBe('Anna')
  })

  test('neither takes back what the other read or joined', async () => {
    const { left, right } = twoTabs()
    await settle()
    for (const { network } of [left, right]) network.socket.say({ type: 'message', ...message(105) })
    left.chat.setReading(true)
    left.chat.enter('kitchen')
    right.chat.enter('hall')
    const { storage } = enterLobby({ storage: left.storage })
    expect(storage.read('rooms', Array.isArray)).toEqual([{ name: 'lobby', readSeq: 105 }, { name: 'kitchen' }, { name: 'hall' }])
  })
})

describe('ten thousand messages', () => {
  test('stay, and the room names who spoke', () => {
    const { chat } = crowded()
    expect(lobby(chat).messages).toHaveLength(10_000)
    expect(lobby(chat).speakers).toEqual([{ ...BOB, at: Date.now() }])
  })

  test('of a room that nobody looks at leave the newest, and the way back', () => {
    const { chat, network } = crowded()
    chat.enter('kitchen')
    network.socket.say({ type: 'message', ...message(10_001) })
    expect(lobby(chat).messages).toHaveLength(2000)
    expect(lobby(chat).hasOlder).toBe(true)
  })
})

describe('the person', () => {
  test('is introduced anew after a change of name, from where the talk was', () => {
    const { chat, network } = enterLobby()
    network.socket.live(100)
    chat.rename(' Anna ')
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ type: 'hello', name: 'Anna', resume: { seq: 100 } }])
    expect(chat.snapshot().name).toBe('Anna')
  })

  test('is told what belongs to no message', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    network.socket.say({ type: 'error', code: 'invalid_name', detail: 'not a name' })
    expect(chat.snapshot().problem).toBe('not a name')
    chat.dismissProblem()
    expect(chat.snapshot().problem).toBeUndefined()
  })

  test('sees the count and the relay change', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    network.socket.say({ type: 'count', connections: 7, instances: 2, settling: true })
    network.socket.say({ type: 'status', relay: 'degraded' })
    expect(chat.snapshot()).toMatchObject({ count: { connections: 7, instances: 2, settling: true }, relay: 'degraded' })
  })
})
