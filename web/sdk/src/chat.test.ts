import { beforeEach, describe, expect, test, vi } from 'vitest'
import { announceChange, BOB, enterLobby, lobby, ME, message, outgoing, settle } from './fake.ts'
import { memoryStorage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

/** A chat in a lobby where ten thousand messages were said. */
function crowded() {
  const talk = enterLobby()
  talk.network.socket.live()
  for (let seq = 1; seq <= 10_000; seq += 1) talk.network.socket.say({ type: 'message', ...message(seq) })
  return talk
}

describe('the session', () => {
  test('is made once, kept, and shown with each hello', () => {
    const storage = memoryStorage()
    const sessions = [1, 2].map(() => {
      const { network } = enterLobby({ storage })
      network.socket.open()
      const [hello] = network.socket.sent
      return hello && 'session' in hello ? hello.session : undefined
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

describe('rooms', () => {
  test('are joined and left on the connection that stands, and named in the next hello', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.leave('lobby')
    expect(chat.snapshot()).toMatchObject({ rooms: [], active: undefined })
    chat.enter('kitchen')
    expect(network.socket.sent.slice(1)).toEqual([
      { type: 'leave', room: 'lobby' },
      { type: 'join', room: 'kitchen' },
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
    expect(lobby(chat).divider).toBe(100)
    chat.setReading(true)
    expect(lobby(chat).unread).toBe(0)
  })

  test('that are entered are not read before the person has their end in view', async () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    chat.setReading(true)
    chat.enter('kitchen')
    network.socket.say({ type: 'joined', room: 'kitchen', seq: 105 })
    await settle()
    network.socket.say({ type: 'message', ...message(106, { room: 'kitchen' }) })
    expect(chat.snapshot().active?.unread).toBe(1)
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
    expect(lobby(chat).divider).toBe(100)
    network.socket.say({ type: 'message', ...message(107) })
    expect(lobby(chat).divider).toBe(106)
  })

  test('do not take for read what comes below one’s own message that was acked further on', async () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    await settle()
    chat.setReading(true)
    chat.send('lobby', 'mine')
    network.socket.ack(network.socket.published()[0]?.id ?? '', 130)
    network.socket.say({ type: 'message', ...message(105) })
    chat.setReading(false)
    network.socket.say({ type: 'message', ...message(106) })
    expect(lobby(chat)).toMatchObject({ unread: 1, divider: 105 })
  })

  test('remember over a reload what was read', async () => {
    const storage = memoryStorage()
    const before = enterLobby({ storage })
    before.network.socket.live()
    await settle()
    before.network.socket.say({ type: 'message', ...message(105) })
    before.chat.setReading(true)
    vi.advanceTimersByTime(1000)
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

test('nobody types on because a timer was early or the clock was set back', () => {
  const { chat, network } = enterLobby()
  network.socket.live()
  network.socket.say({ type: 'typing', room: 'lobby', from: [BOB] })
  vi.setSystemTime(Date.now() - 1)
  vi.advanceTimersByTime(3000)
  network.socket.say({ type: 'typing', room: 'lobby', from: [{ id: 'cid', name: 'Cid' }] })
  vi.advanceTimersByTime(2000)
  expect(lobby(chat).typists).toEqual(['Cid'])
  vi.advanceTimersByTime(600_000)
  expect(lobby(chat).typists).toEqual([])
})

describe('a chat that is closed', () => {
  test('hears and follows nothing more, and leaves what is unsent to the next', () => {
    const { chat, network, storage } = enterLobby()
    network.socket.live()
    network.socket.end(1006)
    chat.send('lobby', 'kept')
    chat.close()
    const onChange = vi.fn<() => void>()
    chat.subscribe(onChange)
    storage.remove('room.lobby')
    announceChange('room.lobby')
    vi.advanceTimersByTime(600_000)
    expect(onChange).not.toHaveBeenCalled()
    expect(network.sockets).toHaveLength(1)
    expect(outgoing(enterLobby({ storage }).chat)).toEqual([['kept', undefined]])
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

describe('twenty thousand messages and more', () => {
  test('stay while one reads further up, and then leave the newest', () => {
    const { chat, network } = enterLobby()
    network.socket.live()
    for (let seq = 1; seq <= 22_001; seq += 1) network.socket.say({ type: 'message', ...message(seq) })
    expect(lobby(chat).messages).toHaveLength(22_001)
    chat.setReading(true)
    network.socket.say({ type: 'message', ...message(22_002) })
    expect(lobby(chat).messages).toHaveLength(20_000)
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
    expect(chat.snapshot().problem).toBe('This name can’t be used. Please choose another one.')
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
