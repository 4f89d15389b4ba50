import { beforeEach, describe, expect, test, vi, type Mock } from 'vitest'
import { bodies, enterLobby, lobby, ME, message, outgoing, settle } from './fake.ts'
import type { History, Page } from './history.ts'
import { memoryStorage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

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

/** Has the test answer what is asked of the history from now on, in turn. */
function answerLater(history: Mock<History>) {
  const answers: ((page: Page) => void)[] = []
  history.mockImplementation(() => new Promise((resolve) => void answers.push(resolve)))
  return answers
}

describe('history', () => {
  test('is loaded once the room is live and joined with what came meanwhile', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValue({ messages: [message(98), message(99)], next: 98 })
    expect(history).not.toHaveBeenCalled()
    network.socket.live()
    network.socket.say({ type: 'message', ...message(101) })
    await settle()
    expect(bodies(chat)).toEqual(['message 98', 'message 99', 'message 101'])
    expect(lobby(chat)).toMatchObject({ history: 'loaded', hasOlder: true, unread: 1 })
  })

  test('that is still loading does not make read what comes meanwhile', async () => {
    const { chat, network, history } = enterLobby()
    const answers = answerLater(history)
    network.socket.live()
    chat.enter('kitchen')
    network.socket.say({ type: 'message', ...message(101) })
    answers[0]?.({ messages: [message(98), message(99), message(101)], next: null })
    await settle()
    expect(lobby(chat)).toMatchObject({ history: 'loaded', unread: 1 })
  })

  test('of a room is loaded when its messages come, not before', async () => {
    const { chat, network, history } = enterLobby()
    network.socket.live()
    await settle()
    for (const room of ['kitchen', 'hall']) chat.enter(room)
    network.socket.say({ type: 'joined', room: 'kitchen', seq: 105 })
    await settle()
    expect(history.mock.calls.map(([room]) => room)).toEqual(['lobby', 'kitchen'])
    network.socket.say({ type: 'joined', room: 'hall', seq: 106 })
    await settle()
    expect(history.mock.calls.map(([room]) => room)).toEqual(['lobby', 'kitchen', 'hall'])
  })

  test('comes first for the room in view, and is asked for once', async () => {
    const storage = memoryStorage()
    const rooms = enterLobby({ storage })
    vi.advanceTimersByTime(1)
    rooms.chat.enter('kitchen')
    rooms.chat.close()
    const { chat, network, history } = enterLobby({ storage })
    const answers = answerLater(history)
    chat.enter('kitchen')
    network.socket.live()
    network.socket.say({ type: 'joined', room: 'kitchen', seq: 105 })
    answers[0]?.({ messages: [], next: null })
    await settle()
    answers[1]?.({ messages: [], next: null })
    await settle()
    expect(history.mock.calls.map(([room]) => room)).toEqual(['kitchen', 'lobby'])
  })

  test('of a room that one goes to does not wait for that of others', async () => {
    const { chat, network, history } = enterLobby()
    const answers = answerLater(history)
    for (const room of ['kitchen', 'hall']) chat.enter(room)
    network.socket.live()
    const asked = () => history.mock.calls.map(([room]) => room)
    expect(asked()).toEqual(['hall'])
    chat.enter('kitchen')
    expect(asked()).toEqual(['hall', 'kitchen'])
    for (const [n, answer] of answers.entries()) answer({ messages: [message(50 + n)], next: null })
    await settle()
    expect(asked()).toEqual(['hall', 'kitchen', 'lobby'])
  })

  test('is not loaded before the connection sends what comes after it', async () => {
    const { chat, network, history } = enterLobby()
    network.socket.open()
    chat.enter('lobby')
    void chat.loadOlder('lobby')
    await settle()
    expect(history).not.toHaveBeenCalled()
    network.socket.greet()
    network.socket.say({ type: 'live', seq: 100 })
    expect(history).toHaveBeenCalledOnce()
  })

  test('may be there as long as none was loaded', async () => {
    const { chat, network } = enterLobby()
    expect(lobby(chat).hasOlder).toBe(true)
    network.socket.live()
    await settle()
    expect(lobby(chat).hasOlder).toBe(false)
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

  test.each([
    [99, 1, 0],
    [79, 1, 2],
    [75, 2, 3],
    [15, 4, 8],
  ])('is loaded back to what was read, here up to %d: %d pages with %d unread, and no more than four', async (readSeq, pages, unread) => {
    const storage = memoryStorage()
    storage.write('room.lobby', { joinedAt: 1, readSeq })
    const { chat, network, history } = enterLobby({ storage })
    // the first page is 89 and 99, the next one 69 and 79
    history.mockImplementation(async (_, { before = 100 } = {}) => ({ messages: [message(before - 11), message(before - 1)], next: before - 20 }))
    network.socket.live()
    await settle()
    expect(history).toHaveBeenCalledTimes(pages)
    expect(lobby(chat)).toMatchObject({ unread, hasOlder: true })
  })

  test('goes on from where it was loaded to, not from one’s own message that was acked further back', async () => {
    const storage = memoryStorage()
    const before = enterLobby({ storage })
    before.chat.send('lobby', 'mine')
    before.chat.close()
    const { chat, network, history } = enterLobby({ storage })
    history.mockResolvedValueOnce({ messages: [message(98), message(99)], next: 98 })
    network.socket.live(100)
    network.socket.ack(network.socket.published()[0]?.id ?? '', 90)
    await settle()
    history.mockResolvedValueOnce({ messages: [message(95)], next: null })
    await chat.loadOlder('lobby')
    expect(history).toHaveBeenLastCalledWith('lobby', { before: 98 })
    expect(bodies(chat)).toEqual(['mine', 'message 95', 'message 98', 'message 99'])
  })

  test('that was loaded is not loaded again after a page that failed', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValueOnce({ messages: [message(99)], next: 99 })
    network.socket.live()
    await settle()
    history.mockResolvedValueOnce({ messages: [message(97)], next: 97 })
    await chat.loadOlder('lobby')
    history.mockRejectedValueOnce(new Error('away'))
    await chat.loadOlder('lobby')
    history.mockResolvedValueOnce({ messages: [message(99)], next: 99 })
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.live()
    await settle()
    await chat.loadOlder('lobby')
    expect(history).toHaveBeenLastCalledWith('lobby', { before: 97 })
  })

  test('that was asked for before the oldest messages were dropped leaves no hole behind it', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValueOnce({ messages: [message(1000)], next: 1000 })
    network.socket.live(1000)
    await settle()
    for (let seq = 1001; seq <= 3300; seq += 1) network.socket.say({ type: 'message', ...message(seq) })
    const answers = answerLater(history)
    void chat.loadOlder('lobby')
    chat.enter('kitchen')
    network.socket.say({ type: 'message', ...message(3301) })
    answers[0]?.({ messages: [message(998), message(999)], next: 998 })
    await settle()
    const seqs = lobby(chat).messages.map(({ seq }) => seq)
    expect(seqs).toEqual(Array.from({ length: 2000 }, (_, n) => 1302 + n))
    void chat.loadOlder('lobby')
    expect(history).toHaveBeenLastCalledWith('lobby', { before: 1302 })
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

  test('of an instance that is behind the connection is asked for again, until it has caught up', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValueOnce({ messages: [message(94)], next: null, seq: 95 })
    history.mockResolvedValueOnce({ messages: [message(94), message(100)], next: null, seq: 100 })
    network.socket.live(100)
    await vi.advanceTimersByTimeAsync(1000)
    expect(bodies(chat)).toEqual(['message 94', 'message 100'])
    expect(history).toHaveBeenCalledTimes(2)
  })

  test('of an instance that stays behind counts as failed, not as all there is', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValue({ messages: [message(94)], next: null, seq: 95 })
    network.socket.live(100)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(lobby(chat)).toMatchObject({ history: 'failed', messages: [] })
    expect(history.mock.calls.length).toBeLessThan(10)
  })

  test('further back needs no instance that knows the newest', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValueOnce({ messages: [message(99)], next: 99, seq: 100 })
    network.socket.live(100)
    await settle()
    history.mockResolvedValueOnce({ messages: [message(97)], next: null, seq: 98 })
    await chat.loadOlder('lobby')
    expect(bodies(chat)).toEqual(['message 97', 'message 99'])
  })

  test('that a reset asks for less of is enough up to there', async () => {
    const { chat, network, history } = enterLobby()
    history.mockResolvedValue({ messages: [message(48)], next: null, seq: 50 })
    network.socket.live(100)
    await settle()
    network.socket.say({ type: 'reset', seq: 50, reason: 'unknown_cursor' })
    await vi.advanceTimersByTimeAsync(1000)
    expect(lobby(chat)).toMatchObject({ history: 'loaded', messages: [{ seq: 48 }] })
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

  test('is made good in a room that was empty', async () => {
    const { chat, network, history } = await resume()
    history.mockResolvedValueOnce({ messages: [message(250), message(300)], next: 250 })
    history.mockResolvedValueOnce({ messages: [message(90), message(200)], next: 90 })
    network.socket.say({ type: 'reset', seq: 300, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 300 })
    await settle()
    expect(bodies(chat)).toEqual([90, 200, 250, 300].map((seq) => `message ${seq}`))
    expect(lobby(chat).hasGap).toBe(true)
  })

  test('is made good from the cursor, not from one’s own message that was acked beyond it', async () => {
    const { chat, network, history } = enterLobby()
    network.socket.live(100)
    await settle()
    chat.send('lobby', 'mine')
    network.socket.ack(network.socket.published()[0]?.id ?? '', 130)
    history.mockResolvedValueOnce({ messages: [message(125)], next: 125 })
    history.mockResolvedValueOnce({ messages: [message(110)], next: null })
    network.socket.say({ type: 'reset', seq: 200, reason: 'hole' })
    await settle()
    expect(bodies(chat)).toEqual(['message 110', 'message 125', 'mine'])
  })

  test('is made good when it comes while the history loads', async () => {
    const { chat, network, history } = enterLobby()
    const answers = answerLater(history)
    network.socket.live(100)
    network.socket.say({ type: 'reset', seq: 200, reason: 'hole' })
    answers[0]?.({ messages: [message(99)], next: null })
    await settle()
    answers[1]?.({ messages: [message(99), message(190)], next: null })
    await settle()
    expect(bodies(chat)).toEqual(['message 99', 'message 190'])
    expect(lobby(chat)).toMatchObject({ hasGap: true, history: 'loaded' })
  })

  test('is made good when it comes while the gap of another is loaded', async () => {
    const { chat, network, history } = await resume(99)
    const answers = answerLater(history)
    network.socket.say({ type: 'reset', seq: 150, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 150 })
    network.socket.say({ type: 'reset', seq: 200, reason: 'hole' })
    answers[0]?.({ messages: [message(99), message(140)], next: null })
    await settle()
    answers[1]?.({ messages: [message(140), message(190)], next: null })
    await settle()
    expect(bodies(chat)).toEqual(['message 99', 'message 140', 'message 190'])
  })

  test('is made good at the next attempt when the first one fails', async () => {
    const { chat, network, history } = await resume(98, 99)
    history.mockRejectedValueOnce(new Error('away'))
    network.socket.say({ type: 'reset', seq: 300, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 300 })
    await settle()
    history.mockResolvedValueOnce({ messages: [message(300)], next: 300 })
    history.mockResolvedValueOnce({ messages: [message(200)], next: 99 })
    history.mockResolvedValueOnce({ messages: [message(99)], next: null })
    await chat.loadOlder('lobby')
    expect(bodies(chat)).toEqual([98, 99, 200, 300].map((seq) => `message ${seq}`))
  })

  test('is no gap to a room of which nothing was shown yet', async () => {
    const { chat, network, history } = enterLobby()
    network.socket.welcome()
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    history.mockResolvedValue({ messages: [message(250), message(300)], next: 250 })
    network.socket.welcome()
    network.socket.say({ type: 'reset', seq: 300, reason: 'too_old' })
    network.socket.say({ type: 'live', seq: 300 })
    await settle()
    expect(history).toHaveBeenCalledOnce()
    expect(lobby(chat)).toMatchObject({ hasGap: false, hasOlder: true })
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
