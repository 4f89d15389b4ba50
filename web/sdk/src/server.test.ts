import { describe, expect, test, vi } from 'vitest'
import { FakeSocket, message } from './fake'
import { serverAt } from './server'

const asked: unknown[][] = []

class Socket extends FakeSocket {
  constructor(...address: string[]) {
    super()
    asked.push(address)
  }
}

test.each([
  ['http://127.0.0.1:8080', 'ws://127.0.0.1:8080/ws'],
  ['https://chat.example/', 'wss://chat.example/ws'],
  ['wss://chat.example', 'wss://chat.example/ws'],
  ['wss://chat.example/ws', 'wss://chat.example/ws'],
  ['ws://localhost:8080/', 'ws://localhost:8080/ws'],
  ['https://h.example/chat', 'wss://h.example/chat/ws'],
  ['wss://h.example/chat/?a#b', 'wss://h.example/chat/ws'],
])('the socket of %s is at %s', (address, socketAddress) => {
  expect(serverAt(address, Socket).open()).toBeInstanceOf(Socket)
  expect(asked.at(-1)).toEqual([socketAddress, 'hubbub.v1'])
})

test('without any WebSocket it says what to do', () => {
  vi.stubGlobal('WebSocket', undefined)
  expect(() => serverAt('http://127.0.0.1:8080').open()).toThrow('--experimental-websocket')
})

test('history is asked for by room and range, and comes in the order of seq', async () => {
  const answer = { messages: [message(2), message(1)], next: 1 }
  const fetch = vi.fn<(address: URL) => Promise<Response>>(async () => Response.json(answer))
  vi.stubGlobal('fetch', fetch)
  const page = await serverAt('http://127.0.0.1:8080').history('lobby', { before: 9 })
  expect(fetch.mock.calls[0]?.[0].href).toBe('http://127.0.0.1:8080/v1/rooms/lobby/messages?limit=50&before=9')
  expect(page.messages.map(({ seq }) => seq)).toEqual([1, 2])
})

test('history leaves out what is no message', async () => {
  const { body: _, ...bodiless } = message(2)
  vi.stubGlobal('fetch', async () => Response.json({ messages: [message(1), bodiless, null], next: null, seq: 2 }))
  const page = await serverAt('http://127.0.0.1:8080').history('lobby')
  expect(page).toMatchObject({ messages: [{ seq: 1 }], next: null, seq: 2 })
})

test('history that the server refuses is an error', async () => {
  vi.stubGlobal('fetch', async () => new Response('no', { status: 404 }))
  await expect(serverAt('http://127.0.0.1:8080').history('lobby')).rejects.toThrow('404')
})

test('history is asked for below the path of the server, with TLS where the socket has it', async () => {
  const fetch = vi.fn<(address: URL) => Promise<Response>>(async () => Response.json({ messages: [], next: null }))
  vi.stubGlobal('fetch', fetch)
  await serverAt('wss://h.example/chat').history('lobby')
  expect(fetch.mock.calls[0]?.[0].href).toBe('https://h.example/chat/v1/rooms/lobby/messages?limit=50')
})

test.each(['ftp://chat.example', 'chat.example:8080', 'file:///ws'])('%s is no address of a server', (address) => {
  expect(() => serverAt(address)).toThrow('begins with https:')
})

test('whoever sends the secret in the clear is warned, once', () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  for (const address of ['ws://localhost:8080', 'http://127.0.0.2', 'http://[::1]:80', 'https://plain.example', 'wss://plain.example']) serverAt(address)
  expect(warn).not.toHaveBeenCalled()
  for (const address of ['ws://plain.example', 'http://plain.example']) serverAt(address)
  expect(warn).toHaveBeenCalledOnce()
  expect(warn.mock.calls[0]?.[0]).toContain('plain.example is not encrypted')
})

describe('a socket that does not open', () => {
  const open = serverAt('https://h.example/chat')

  test.each([
    [426, 'socket_blocked'],
    [404, 'socket_blocked'],
    [405, 'socket_blocked'],
    [200, 'socket_blocked'],
    [401, undefined],
    [429, 'address_full'],
    [502, undefined],
    [503, undefined],
  ])('where HTTP answers %i is explained by %s', async (status, obstacle) => {
    vi.stubGlobal('fetch', async () => new Response('', { status }))
    expect(await open.diagnose?.()).toBe(obstacle)
  })

  test.each([403, 421])('is said to be refused when the server itself answers %i, and not when something before it does', async (status) => {
    const answer = (type: string) => vi.stubGlobal('fetch', async () => new Response('{}', { status, headers: { 'content-type': type } }))
    answer('application/problem+json')
    expect(await open.diagnose?.()).toBe('origin_refused')
    answer('text/html')
    expect(await open.diagnose?.()).toBe('socket_blocked')
  })

  test('is explained by a request that names the origin of the page', async () => {
    const fetch = vi.fn<(address: URL, options: RequestInit) => Promise<Response>>(async () => new Response('', { status: 426 }))
    vi.stubGlobal('fetch', fetch)
    await open.diagnose?.()
    expect(fetch.mock.calls[0]?.[0].href).toBe('https://h.example/chat/ws')
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({ method: 'POST' })
  })

  test('where the page may not read the answer is not explained: that may be anything', async () => {
    vi.stubGlobal('fetch', async (_: URL, { mode }: RequestInit) => {
      if (mode !== 'no-cors') throw new TypeError('Failed to fetch')
      return { type: 'opaque' }
    })
    expect(await open.diagnose?.()).toBeUndefined()
  })

  test('where nothing answers is not explained', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')))
    expect(await open.diagnose?.()).toBeUndefined()
  })
})

const away = () => new Response('', { status: 503, headers: { 'retry-after': '1' } })

describe('a page of history', () => {
  const page = { messages: [], next: null, seq: 7 }

  function answers(...replies: Response[]) {
    vi.useFakeTimers()
    const fetch = vi.fn<() => Promise<Response>>(async () => replies.shift() ?? Response.json(page))
    vi.stubGlobal('fetch', fetch)
    return fetch
  }

  test('is asked for again when the server says when', async () => {
    const fetch = answers(away(), away())
    const loading = serverAt('https://h.example').history('lobby')
    await vi.advanceTimersByTimeAsync(1999)
    expect(fetch).toHaveBeenCalledTimes(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(await loading).toMatchObject(page)
  })

  test('fails when the server cannot answer for long, and at once when it does not say when', async () => {
    answers(away(), away(), away(), away())
    const refusal = serverAt('https://h.example').history('lobby').catch(String)
    await vi.advanceTimersByTimeAsync(3000)
    expect(await refusal).toContain('503')
    answers(new Response('', { status: 503 }))
    await expect(serverAt('https://h.example').history('lobby')).rejects.toThrow('503')
  })
})
