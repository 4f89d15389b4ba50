import { beforeEach, describe, expect, test, vi } from 'vitest'
import { Connection, type Link, type Obstacle } from './connection.ts'
import { FakeNetwork } from './fake.ts'

let network: FakeNetwork
let links: Link['state'][]
let isOnline: boolean

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
  network = new FakeNetwork()
  links = []
  isOnline = true
})

function connect(options: { diagnose?: () => Promise<Obstacle | undefined> } = {}): Connection {
  const connection = new Connection({
    open: network.open,
    hello: () => ({ type: 'hello', name: 'Ann', session: 's', rooms: ['lobby'] }),
    onFrame: () => {},
    onLink: (link) => links.push(link.state),
    isOnline: () => isOnline,
    random: () => 1,
    ...options,
  })
  connection.start()
  return connection
}

function waitMs({ link }: Connection): number | undefined {
  return link.state === 'waiting' ? link.until - performance.now() : undefined
}

describe('a connection', () => {
  test('says hello first and is live when the replay is over', () => {
    connect()
    network.socket.live()
    expect(network.socket.sent).toEqual([{ type: 'hello', name: 'Ann', session: 's', rooms: ['lobby'] }])
    expect(links).toEqual(['connecting', 'replaying', 'live'])
  })

  test('that is not welcomed within ten seconds is tried again', () => {
    const connection = connect()
    const first = network.socket
    first.open()
    vi.advanceTimersByTime(9999)
    expect(connection.link.state).toBe('connecting')
    vi.advanceTimersByTime(1)
    expect(connection.link.state).toBe('waiting')
    expect(first.isClosed).toBe(true)
    vi.advanceTimersByTime(500)
    expect(network.sockets).toHaveLength(2)
  })

  test('that hears nothing for a heartbeat and ten seconds is given up', () => {
    const connection = connect()
    network.socket.live()
    vi.advanceTimersByTime(34_999)
    expect(connection.link.state).toBe('live')
    vi.advanceTimersByTime(1)
    expect(connection.link.state).toBe('waiting')
  })

  test('that hears its heartbeat stays', () => {
    const connection = connect()
    network.socket.live()
    for (let beat = 0; beat < 10; beat += 1) {
      vi.advanceTimersByTime(25_000)
      network.socket.say({ type: 'heartbeat', seq: 100 })
    }
    expect(connection.link.state).toBe('live')
    expect(network.sockets).toHaveLength(1)
  })

  test('waits longer after each failure', () => {
    const connection = connect()
    const waits = [1, 2, 3].map(() => {
      network.socket.end(1006)
      const wait = waitMs(connection)
      vi.runOnlyPendingTimers()
      return wait
    })
    expect(waits).toEqual([500, 1000, 2000])
  })

  test('forgets its failures only after ten seconds of standing', () => {
    const connection = connect()
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    network.socket.live()
    vi.advanceTimersByTime(9999)
    network.socket.end(1006)
    expect(waitMs(connection)).toBe(1000)
    vi.advanceTimersByTime(1000)
    network.socket.end(1006)
    expect(waitMs(connection)).toBe(2000)
    vi.advanceTimersByTime(2000)
    network.socket.live()
    vi.advanceTimersByTime(10_000)
    network.socket.end(1006)
    expect(waitMs(connection)).toBe(500)
  })

  test('that is drained comes back when it was told to', () => {
    const connection = connect()
    network.socket.live()
    network.socket.say({ type: 'drain', reconnect_after_ms: 1234 })
    network.socket.end(1012)
    expect(waitMs(connection)).toBe(1234)
    vi.advanceTimersByTime(1234)
    expect(network.sockets).toHaveLength(2)
    network.socket.end(1006)
    expect(waitMs(connection)).toBe(500)
  })

  test('keeps to the time that a draining server gave it, unless the person says otherwise', () => {
    const connection = connect()
    network.socket.live()
    network.socket.say({ type: 'drain', reconnect_after_ms: 1234 })
    network.socket.end(1012)
    connection.wake()
    expect(network.sockets).toHaveLength(1)
    connection.start()
    expect(network.sockets).toHaveLength(2)
  })

  test('that is closed from this side stays closed', () => {
    const connection = connect()
    const { socket } = network
    socket.live()
    connection.close()
    expect(socket.isClosed).toBe(true)
    for (const again of [() => connection.start(), () => connection.wake(), () => connection.restart()]) again()
    vi.advanceTimersByTime(600_000)
    expect(connection.link).toEqual({ state: 'stopped', code: 1000 })
    expect(network.sockets).toHaveLength(1)
  })

  test.each([1000, 1001, 1006, 1011, 1012, 1013, 4000, 4001, 4002, 4003, 4499])('closed with %i comes back', (code) => {
    const connection = connect()
    network.socket.live()
    network.socket.end(code)
    expect(connection.link.state).toBe('waiting')
  })

  test.each([1002, 1003, 1007, 1009, 4500, 4501, 4503, 4504, 4999])('closed with %i stays away', (code) => {
    const connection = connect()
    network.socket.live()
    network.socket.end(code)
    vi.advanceTimersByTime(600_000)
    connection.wake()
    connection.restart()
    expect(connection.link).toEqual({ state: 'stopped', code })
    expect(network.sockets).toHaveLength(1)
    connection.start()
    network.socket.live()
    expect(connection.link.state).toBe('live')
  })

  test('that is one too many from its address says so, and tries again with backoff until there is room', () => {
    const connection = connect()
    for (const wait of [500, 1000, 2000]) {
      network.socket.open()
      network.socket.end(4004)
      expect(connection.link).toEqual({ state: 'waiting', until: performance.now() + wait, obstacle: 'address_full' })
      vi.advanceTimersByTime(wait)
      expect(connection.link).toEqual({ state: 'connecting', obstacle: 'address_full' })
    }
    network.socket.live()
    network.socket.end(1006)
    expect(connection.link).not.toHaveProperty('obstacle')
  })

  test('whose sockets do not open asks why, from the second on, and says so until one opens', async () => {
    const diagnose = vi.fn<() => Promise<Obstacle>>(async () => 'origin_refused')
    const connection = connect({ diagnose })
    network.socket.end(1006)
    await vi.advanceTimersByTimeAsync(500)
    expect(diagnose).not.toHaveBeenCalled()
    network.socket.end(1006)
    await vi.advanceTimersByTimeAsync(0)
    expect(connection.link).toEqual({ state: 'waiting', until: performance.now() + 1000, obstacle: 'origin_refused' })
    await vi.advanceTimersByTimeAsync(1000)
    expect(connection.link).toEqual({ state: 'connecting', obstacle: 'origin_refused' })
    network.socket.live()
    network.socket.end(1006)
    expect(connection.link).not.toHaveProperty('obstacle')
    expect(diagnose).toHaveBeenCalledTimes(1)
  })

  test('whose clock is set neither gives up, nor waits longer or shorter', () => {
    const connection = connect()
    network.socket.live()
    for (const hours of [1, -2]) {
      vi.setSystemTime(Date.now() + hours * 3_600_000)
      vi.advanceTimersByTime(20_000)
      network.socket.say({ type: 'heartbeat', seq: 100 })
      vi.advanceTimersByTime(10_000)
      expect(connection.link.state).toBe('live')
    }
    vi.setSystemTime(Date.now() - 3_600_000)
    vi.advanceTimersByTime(25_000)
    expect(connection.link.state).toBe('waiting')
    vi.setSystemTime(Date.now() - 3_600_000)
    expect(waitMs(connection)).toBe(500)
  })

  test('is put to the test when the network goes away, and gives up soon', () => {
    const connection = connect()
    network.socket.live()
    vi.advanceTimersByTime(1000)
    isOnline = false
    connection.sleep()
    expect(network.socket.sent.at(-1)).toEqual({ type: 'ping' })
    vi.advanceTimersByTime(2000)
    expect(connection.link.state).toBe('offline')
  })

  test('that is lost without a network is offline at once, and waits no longer after it than before', async () => {
    const diagnose = vi.fn<() => Promise<undefined>>(async () => undefined)
    const connection = connect({ diagnose })
    network.socket.end(1006)
    vi.advanceTimersByTime(500)
    isOnline = false
    network.socket.end(1006)
    expect(connection.link.state).toBe('offline')
    isOnline = true
    connection.wake()
    network.socket.end(1006)
    expect(waitMs(connection)).toBe(1000)
    isOnline = false
    connection.start()
    network.socket.end(1006)
    expect(links).toEqual(['connecting', 'waiting', 'connecting', 'offline', 'connecting', 'waiting', 'connecting', 'offline'])
    expect(diagnose).toHaveBeenCalledTimes(1)
  })

  test('to a server on this machine stands without a network', () => {
    const connection = connect()
    network.socket.live()
    vi.advanceTimersByTime(1000)
    isOnline = false
    connection.sleep()
    vi.advanceTimersByTime(100)
    network.socket.say({ type: 'pong' })
    vi.advanceTimersByTime(10_000)
    expect(connection.link.state).toBe('live')
  })

  test('waits while there is no network and comes back with it', () => {
    const connection = connect()
    network.socket.live()
    isOnline = false
    network.socket.end(1006)
    connection.sleep()
    vi.advanceTimersByTime(600_000)
    expect(connection.link.state).toBe('offline')
    expect(network.sockets).toHaveLength(1)
    isOnline = true
    connection.wake()
    expect(network.sockets).toHaveLength(2)
  })

  test('tries without a network when the person says so, for the server may be on this machine', () => {
    isOnline = false
    const connection = connect()
    expect(connection.link.state).toBe('connecting')
    network.socket.live()
    expect(connection.link.state).toBe('live')
    connection.restart()
    expect(network.sockets).toHaveLength(2)
    network.socket.end(1006)
    expect(connection.link.state).toBe('offline')
    connection.wake()
    expect(connection.link.state).toBe('offline')
    connection.start()
    network.socket.live()
    expect(connection.link.state).toBe('live')
  })

  test('does not wait any longer when the person says so', () => {
    const connection = connect()
    network.socket.end(1006)
    connection.start()
    expect(network.sockets).toHaveLength(2)
    vi.advanceTimersByTime(500)
    expect(network.sockets).toHaveLength(2)
  })

  test('is put to the test when the page wakes up', () => {
    const connection = connect()
    network.socket.live()
    vi.advanceTimersByTime(1000)
    connection.wake()
    expect(network.socket.sent.at(-1)).toEqual({ type: 'ping' })
    vi.advanceTimersByTime(5000)
    expect(connection.link.state).toBe('waiting')
  })

  test('passes the test when anything is heard', () => {
    const connection = connect()
    network.socket.live()
    vi.advanceTimersByTime(1000)
    connection.wake()
    vi.advanceTimersByTime(100)
    network.socket.say({ type: 'pong' })
    vi.advanceTimersByTime(5000)
    expect(connection.link.state).toBe('live')
  })

  test('hears nothing more from a socket it gave up', () => {
    const connection = connect()
    const first = network.socket
    first.live()
    connection.restart()
    first.end(4500)
    expect(connection.link.state).toBe('connecting')
  })
})
