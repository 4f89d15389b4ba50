import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Chat } from './chat.ts'
import { announceChange, enterLobby, FakeLocks, FakeNetwork, limitedStorage, lobby, ME, message, settle } from './fake.ts'
import { Profile } from './profile.ts'
import { memoryStorage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

/** Lets what was read until now be stored, so that what is read next is stored at once. */
function storeWhatIsRead() {
  vi.advanceTimersByTime(1000)
}

/** Two tabs that share a storage, both connected, and what tells the second what the first changed. */
function twoTabs() {
  const storage = memoryStorage()
  const locks = new FakeLocks()
  const [left, right] = [enterLobby({ storage, locks }), enterLobby({ storage, locks })]
  for (const { network } of [left, right]) network.socket.live()
  storeWhatIsRead()
  return { left, right }
}

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
    storage.remove('room.kitchen')
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
    announceChange('room.lobby')
    left.chat.enter('kitchen')
    announceChange('room.kitchen')
    expect(lobby(right.chat).unread).toBe(0)
    expect(right.network.socket.sent.at(-1)).toEqual({ type: 'join', room: 'kitchen' })
    left.chat.leave('kitchen')
    announceChange('room.kitchen')
    expect(right.network.socket.sent.at(-1)).toEqual({ type: 'leave', room: 'kitchen' })
    left.chat.rename('Anna')
    announceChange('name')
    expect(right.chat.snapshot().name).toBe('Anna')
  })

  test('one that waits for a name takes the one that the person gave in the other', () => {
    const storage = memoryStorage()
    const [left, right] = [new FakeNetwork(), new FakeNetwork()].map((network) => {
      const chat = new Chat({ server: { open: network.open, history: async () => ({ messages: [], next: null }) }, storage })
      chat.enter('lobby')
      expect(chat.snapshot().name).toBeUndefined()
      return { chat, network }
    })
    left?.chat.rename('Ann')
    announceChange('name')
    expect(right?.chat.snapshot().name).toBe('Ann')
    expect(right?.network.sockets).toHaveLength(1)
  })

  test('neither takes back what the other read or joined', async () => {
    const { left, right } = twoTabs()
    await settle()
    for (const { network } of [left, right]) network.socket.say({ type: 'message', ...message(105) })
    left.chat.setReading(true)
    left.chat.enter('kitchen')
    vi.advanceTimersByTime(1)
    right.chat.enter('hall')
    const { chat } = enterLobby({ storage: left.storage })
    expect(chat.snapshot().rooms.map(({ name }) => name)).toEqual(['lobby', 'kitchen', 'hall'])
    const profile = new Profile(left.storage)
    expect(profile.room('lobby')).toMatchObject({ readSeq: 105 })
  })

  test('neither drops a room, or what is unsent in it, over what the other did to another room', () => {
    const { left, right } = twoTabs()
    left.network.socket.end(1006)
    left.chat.enter('kitchen')
    left.chat.send('kitchen', 'kept')
    right.chat.enter('hall')
    left.storage.remove('room.kitchen')
    announceChange('room.hall')
    const kitchen = left.chat.snapshot().rooms.find(({ name }) => name === 'kitchen')
    expect(kitchen?.outgoing).toMatchObject([{ body: 'kept' }])
  })

  test('a room that one leaves stays in the other as long as something is unsent in it there', async () => {
    const { left, right } = twoTabs()
    right.network.socket.end(1006)
    right.chat.send('lobby', 'kept')
    left.chat.leave('lobby')
    announceChange('room.lobby')
    expect(lobby(right.chat).outgoing).toMatchObject([{ body: 'kept' }])
    vi.advanceTimersByTime(500)
    right.network.socket.live()
    const id = right.network.socket.published()[0]?.id ?? ''
    right.network.socket.ack(id, 105)
    expect(lobby(right.chat)).toMatchObject({ outgoing: [], messages: [{ body: 'kept' }] })
    expect(new Profile(left.storage).rooms).toEqual([])
  })

  test('one tells the other what was read at once, and then no more than once a second', async () => {
    const { storage, setItem } = limitedStorage()
    const { chat, network } = enterLobby({ storage })
    network.socket.live()
    await settle()
    storeWhatIsRead()
    const readSeq = () => new Profile(storage).room('lobby')?.readSeq
    network.socket.say({ type: 'message', ...message(105) })
    chat.setReading(true)
    expect(readSeq()).toBe(105)
    setItem.mockClear()
    for (let seq = 106; seq <= 200; seq += 1) network.socket.say({ type: 'message', ...message(seq) })
    expect(setItem).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1000)
    expect(setItem).toHaveBeenCalledOnce()
    expect(readSeq()).toBe(200)
  })

  test.each([
    ['is hidden', () => void window.dispatchEvent(new Event('pagehide'))],
    ['is closed', (chat: Chat) => chat.close()],
  ])('what one has read is known when it %s', async (_, end) => {
    const { chat, network, storage } = enterLobby()
    network.socket.live()
    await settle()
    chat.setReading(true)
    for (const seq of [105, 106]) network.socket.say({ type: 'message', ...message(seq) })
    end(chat)
    expect(new Profile(storage).room('lobby')).toMatchObject({ readSeq: 106 })
  })

  test('what one has read is read again when the other, which had not heard of it, says less', async () => {
    const { left, right } = twoTabs()
    await settle()
    for (const { network } of [left, right]) network.socket.say({ type: 'message', ...message(105) })
    left.chat.setReading(true)
    left.storage.write('room.lobby', { joinedAt: 1, readSeq: 90 })
    announceChange('room.lobby')
    vi.advanceTimersByTime(1000)
    expect(new Profile(left.storage).room('lobby')).toMatchObject({ readSeq: 105 })
  })

  test('what one reads does not bring back a room that the other has left', async () => {
    const { left, right } = twoTabs()
    await settle()
    right.chat.leave('lobby')
    left.network.socket.say({ type: 'message', ...message(105) })
    left.chat.setReading(true)
    expect(new Profile(left.storage).rooms).toEqual([])
  })
})
