import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Client, type ClientOptions } from './client.ts'
import { announceChange, BOB, FakeNetwork, ME, message } from './fake.ts'
import type { History } from './history.ts'
import { LIMITS, refusalText, type ErrorCode } from './protocol.ts'
import { memoryStorage, type Storage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

function connect(options: Partial<ClientOptions> = {}) {
  const network = new FakeNetwork()
  const history = vi.fn<History>(async () => ({ messages: [], next: null }))
  const client = new Client({ server: { open: network.open, history }, name: 'Ann', random: () => 1, ...options })
  client.connect()
  return { client, network, history }
}

function firstId(network: FakeNetwork): string {
  return network.socket.published()[0]?.id ?? ''
}

/** A client whose hello the server does not take. */
function refuse(code: ErrorCode) {
  const talk = connect()
  talk.network.socket.open()
  talk.network.socket.say({ type: 'error', code, detail: `${code}, it says` })
  return talk
}

describe('a publish', () => {
  test('promises the receipt with the ack', async () => {
    const { client, network } = connect()
    network.socket.live()
    const receipt = client.publish('lobby', 'hi')
    network.socket.ack(firstId(network), 105)
    await expect(receipt).resolves.toMatchObject({ room: 'lobby', body: 'hi', seq: 105, ack: { instance: 'a' } })
    expect(client.unsent).toEqual([])
  })

  test('is as good as acked when the message itself comes, over whichever connection', async () => {
    const { client, network } = connect()
    network.socket.live()
    const receipt = client.publish('lobby', 'hi')
    const id = firstId(network)
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.welcome({ resumed: true })
    network.socket.say({ type: 'message', ...message(105, { id, from: ME, body: 'hi' }) })
    await expect(receipt).resolves.toMatchObject({ id, seq: 105 })
  })

  test('that is refused fails with the code of the server', async () => {
    const { client, network } = connect()
    network.socket.live()
    const receipt = client.publish('kitchen', 'hi')
    network.socket.say({ type: 'error', code: 'not_joined', detail: 'not in kitchen', id: firstId(network) })
    await expect(receipt).rejects.toMatchObject({ name: 'PublishError', code: 'not_joined', message: 'You are not in this room any more.' })
  })

  test('that the server may have forgotten fails as uncertain', async () => {
    const { client, network } = connect()
    network.socket.live()
    const receipt = client.publish('lobby', 'hi')
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.welcome({ dedupe_ms: 400 })
    network.socket.say({ type: 'live', seq: 100 })
    await expect(receipt).rejects.toMatchObject({ code: 'uncertain' })
  })

  test('beyond what the outbox holds fails at once', async () => {
    const { client } = connect()
    for (let n = 0; n < 200; n += 1) client.send('lobby', `${n}`)
    await expect(client.publish('lobby', 'one more')).rejects.toMatchObject({ code: 'outbox_full' })
  })

  test.each([
    ['empty_body', ' \n\u0085'],
    ['body_too_large', 'x'.repeat(8193)],
    ['body_too_large', 'ü'.repeat(4097)],
  ])('that the server would refuse as %s fails before it is queued', async (code, body) => {
    const { client, network } = connect()
    network.socket.live()
    await expect(client.publish('lobby', body)).rejects.toMatchObject({ name: 'PublishError', code })
    expect(client.unsent).toEqual([])
    expect(network.socket.published()).toEqual([])
  })

  test('has as many bytes as the server allows', () => {
    const { client, network } = connect()
    network.socket.welcome({ limits: { ...LIMITS, body_bytes: 4 } })
    network.socket.say({ type: 'live', seq: 100 })
    client.send('lobby', 'üü')
    expect(() => client.send('lobby', 'üü!')).toThrow('at most 4 bytes')
    expect(network.socket.publishedBodies()).toEqual(['üü'])
  })

  test('goes out as text that UTF-8 can say', () => {
    const { client, network } = connect()
    network.socket.live()
    client.send('lobby', 'half \ud83d, whole \ud83d\ude00')
    expect(network.socket.publishedBodies()).toEqual(['half \ufffd, whole \u{1f600}'])
    client.rename('Ann \udc00')
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ name: 'Ann \ufffd' }])
  })

  test.each([
    ['closed', (client: Client) => client.close()],
    ['left', (client: Client) => client.leave('lobby')],
    ['discarded', (client: Client) => client.discard(client.unsent[0]?.id ?? '')],
    ['stopped', (_: Client, network: FakeNetwork) => network.socket.end(4501)],
    ['taken_over', (client: Client, _: FakeNetwork, storage: Storage) => {
      const [name = ''] = storage.names('outbox.')
      storage.remove(name)
      announceChange(name)
      expect(client.unsent).toEqual([])
    }],
  ])('that comes to nothing because it is %s fails with that code', async (code, end) => {
    const storage = memoryStorage()
    const { client, network } = connect({ storage })
    network.socket.live()
    const receipt = client.publish('lobby', 'hi')
    end(client, network, storage)
    await expect(receipt).rejects.toMatchObject({ name: 'PublishError', code })
  })

  test('of a client that the server does not want, or that is closed, fails at once', async () => {
    const { client, network } = connect()
    network.socket.end(4501)
    await expect(client.publish('lobby', 'hi')).rejects.toMatchObject({ code: 'stopped' })
    expect(client.unsent).toHaveLength(1)
    client.close()
    await expect(client.publish('lobby', 'hi')).rejects.toMatchObject({ code: 'closed' })
    expect(client.unsent).toHaveLength(1)
  })

  test('that is refused after it was discarded is nobody’s business', () => {
    const { client, network } = connect()
    const onRefused = vi.fn<(refusal: object) => void>()
    client.on('refused', onRefused)
    network.socket.live()
    const id = client.send('lobby', 'hi')
    client.discard(id)
    network.socket.say({ type: 'error', code: 'not_joined', detail: 'no', id })
    expect(onRefused).not.toHaveBeenCalled()
  })
})

describe('events', () => {
  test('tell each message once, whatever is repeated or moved', () => {
    const { client, network } = connect()
    const heard: number[] = []
    client.on('message', ({ seq }) => heard.push(seq))
    network.socket.live()
    for (const frame of [message(105), message(105), message(900, { id: 'm105', was: 105 }), message(901)]) {
      network.socket.say({ type: 'message', ...frame })
    }
    expect(heard).toEqual([105, 901])
  })

  test('tell from where to where a reset leaves a gap', () => {
    const { client, network } = connect()
    const onReset = vi.fn<(gap: object) => void>()
    client.on('reset', onReset)
    network.socket.live(100)
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.welcome({ seq: 300 })
    network.socket.say({ type: 'reset', seq: 300, reason: 'too_old' })
    expect(onReset).toHaveBeenCalledExactlyOnceWith({ from: 100, seq: 300, reason: 'too_old' })
    expect(client.cursor).toBe(300)
  })

  test('tell of every change of what is unsent: written, confirmed, failed, tried again, discarded', () => {
    const { client, network } = connect()
    const drawn: string[][] = []
    client.on('outbox', () => drawn.push(client.unsent.map(({ body, fault }) => (fault === undefined ? body : `${body}: ${fault}`))))
    network.socket.live()
    network.socket.ack(client.send('lobby', 'one'), 105)
    const id = client.send('lobby', 'two')
    network.socket.say({ type: 'error', code: 'not_joined', detail: 'no', id })
    client.retry(id)
    client.discard(id)
    expect(drawn).toEqual([['one'], [], ['two'], ['two: You are not in this room any more.'], ['two'], []])
  })

  test('tell who types, how many are there, how the relay is, and what was refused', () => {
    const { client, network } = connect()
    const heard: unknown[] = []
    for (const name of ['typing', 'count', 'relay', 'refused'] as const) client.on(name, (value) => heard.push(value))
    network.socket.live()
    network.socket.say({ type: 'typing', room: 'lobby', from: [BOB] })
    network.socket.say({ type: 'count', connections: 2, instances: 1, settling: false })
    network.socket.say({ type: 'status', relay: 'degraded' })
    network.socket.say({ type: 'error', code: 'too_many_rooms', detail: 'no more' })
    expect(heard).toMatchObject([{ from: [BOB] }, { connections: 2 }, 'degraded', { code: 'too_many_rooms' }])
  })
})

describe('membership', () => {
  test('begins in the lobby unless other rooms are named', () => {
    for (const [options, rooms] of [[{}, ['lobby']], [{ rooms: ['a', 'b'] }, ['a', 'b']]] as const) {
      const { network } = connect(options)
      network.socket.open()
      expect(network.socket.sent).toMatchObject([{ rooms }])
    }
  })

  test('that was too much at once is asked for again', () => {
    const { client, network } = connect()
    network.socket.live()
    client.join('a')
    client.join('b')
    network.socket.say({ type: 'joined', room: 'a', seq: 101 })
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', retry_after_ms: 300 })
    vi.advanceTimersByTime(299)
    expect(network.socket.sent.slice(1).map((frame) => 'room' in frame && frame.room)).toEqual(['a', 'b'])
    vi.advanceTimersByTime(1)
    expect(network.socket.sent.slice(1).map((frame) => 'room' in frame && frame.room)).toEqual(['a', 'b', 'b'])
  })

  test('that was asked for again on a new connection is not asked for a third time', () => {
    const { client, network } = connect()
    network.socket.live()
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', retry_after_ms: 3000 })
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.live()
    client.join('a')
    vi.advanceTimersByTime(3000)
    expect(network.socket.sent.slice(1)).toEqual([{ type: 'join', room: 'a' }])
  })

  test('ends where the server would refuse the next hello', () => {
    const { client, network } = connect({ rooms: Array.from({ length: 31 }, (_, n) => `r${n}`) })
    network.socket.live()
    client.join('r31')
    expect(() => client.join('r32')).toThrow(expect.objectContaining({ name: 'RoomError', code: 'too_many_rooms' }))
    expect(() => client.join('Not A Room')).toThrow(expect.objectContaining({ code: 'invalid_room' }))
    expect(() => connect({ rooms: Array.from({ length: 33 }, (_, n) => `r${n}`) })).toThrow('32 rooms')
    client.join('r31')
    expect(client.rooms).toHaveLength(32)
    expect(network.socket.sent.slice(1)).toEqual([{ type: 'join', room: 'r31' }])
  })

  test('of what another tab left unsent is refused aloud where there are too many', async () => {
    const storage = memoryStorage()
    const entry = { id: 'm', room: 'one-more', body: 'kept', at: 1 }
    storage.write('outbox.gone.1', entry)
    const network = new FakeNetwork()
    const client = new Client({
      server: { open: network.open, history: async () => ({ messages: [], next: null }) },
      name: 'Ann',
      rooms: Array.from({ length: 32 }, (_, n) => `r${n}`),
      storage,
    })
    const onRefused = vi.fn<(refusal: object) => void>()
    client.on('refused', onRefused)
    client.connect()
    expect(onRefused).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'too_many_rooms' }))
    expect(client.unsent).toEqual([entry])
  })

  test('moves the cursor when it is confirmed', () => {
    const { client, network } = connect()
    network.socket.live(100)
    network.socket.say({ type: 'joined', room: 'a', seq: 110 })
    expect(client.cursor).toBe(110)
  })

  test('ends when the server says so', () => {
    const { client, network } = connect()
    network.socket.live()
    client.leave('lobby')
    expect(client.isIn('lobby')).toBe(true)
    network.socket.say({ type: 'left', room: 'lobby', seq: 110 })
    expect(client.isIn('lobby')).toBe(false)
  })
})

describe('a hello that is refused', () => {
  test.each(['invalid_name', 'too_many_rooms', 'bad_frame'] as const)('as %s is not said again', async (code) => {
    const { client, network } = refuse(code)
    expect(client.link).toMatchObject({ state: 'refused', refusal: { code } })
    expect(network.socket.isClosed).toBe(true)
    client.wake()
    vi.advanceTimersByTime(600_000)
    expect(network.sockets).toHaveLength(1)
    await expect(client.publish('lobby', 'hi')).rejects.toMatchObject({ code: 'stopped', message: refusalText({ code, detail: '' }) })
  })

  test('is said again under another name, with fewer rooms, and when the person says so', () => {
    for (const change of [(client: Client) => client.rename('Anna'), (client: Client) => client.leave('lobby'), (client: Client) => client.connect()]) {
      const { client, network } = refuse('invalid_name')
      change(client)
      expect(network.sockets).toHaveLength(2)
      network.socket.live()
      expect(client.link.state).toBe('live')
    }
  })

  test('because of the session that the program gave is not said as somebody else', () => {
    const { client, network } = connect({ session: 'malformed' })
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ session: 'malformed' }])
    network.socket.say({ type: 'error', code: 'invalid_session', detail: 'not a session' })
    expect(client.link).toMatchObject({ state: 'refused', refusal: { code: 'invalid_session' } })
    expect(network.sockets).toHaveLength(1)
  })

  test('because of its session is said once more, with another', () => {
    const { client, network } = refuse('invalid_session')
    network.socket.open()
    network.socket.say({ type: 'error', code: 'invalid_session', detail: 'no' })
    expect(client.link.state).toBe('refused')
    expect(network.sockets).toHaveLength(2)
  })
})

describe('a client', () => {
  test('shows the session it was given', () => {
    const { network } = connect({ session: 'AAAAAAAAAAAAAAAAAAAAAA' })
    network.socket.open()
    expect(network.socket.sent).toMatchObject([{ session: 'AAAAAAAAAAAAAAAAAAAAAA' }])
  })

  test('follows the network and the page by itself, until it is closed', () => {
    const { client, network } = connect()
    network.socket.end(1006)
    window.dispatchEvent(new Event('offline'))
    expect(client.link.state).toBe('offline')
    window.dispatchEvent(new Event('online'))
    expect(network.sockets).toHaveLength(2)
    network.socket.live()
    document.dispatchEvent(new Event('visibilitychange'))
    expect(network.socket.sent.at(-1)).toEqual({ type: 'ping' })
    client.close()
    for (const name of ['online', 'pageshow']) window.dispatchEvent(new Event(name))
    expect(network.sockets).toHaveLength(2)
    expect(client.link).toEqual({ state: 'stopped', code: 1000 })
  })

  test('that is closed leaves no timer that would keep a program from its end', () => {
    const { client, network } = connect()
    network.socket.live()
    const id = client.send('lobby', 'hi')
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', retry_after_ms: 300 })
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', id, retry_after_ms: 300 })
    client.close()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('that is closed no longer waits, and hears of no other tab', () => {
    const storage = memoryStorage()
    const { client, network } = connect({ storage })
    network.socket.live()
    const id = client.send('lobby', 'hi')
    network.socket.say({ type: 'error', code: 'rate_limited', detail: 'slow down', id, retry_after_ms: 300 })
    client.close()
    expect(client.hold).toBeUndefined()
    const onChange = vi.fn<() => void>()
    for (const name of ['hold', 'outbox'] as const) client.on(name, onChange)
    const [name = ''] = storage.names('outbox.')
    storage.remove(name)
    announceChange(name)
    vi.advanceTimersByTime(300)
    expect(onChange).not.toHaveBeenCalled()
  })

  test('follows the network where there is no page: in a worker', () => {
    vi.stubGlobal('document', undefined)
    vi.stubGlobal('window', undefined)
    let online = true
    const { client, network } = connect({ isOnline: () => online })
    online = false
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    expect(client.link.state).toBe('offline')
    online = true
    globalThis.dispatchEvent(new Event('online'))
    expect(network.sockets).toHaveLength(2)
    client.close()
  })

  test('takes history for the confirmation of what it holds of its own', async () => {
    const { client, network, history } = connect()
    const onSent = vi.fn<(receipt: object) => void>()
    client.on('sent', onSent)
    network.socket.live()
    const id = client.send('lobby', 'hi')
    history.mockResolvedValue({ messages: [message(99, { id, from: ME, body: 'hi' })], next: null })
    await client.history('lobby', { limit: 1 })
    expect(onSent).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ id, seq: 99 }))
  })
})
