import { expect, test, vi } from 'vitest'
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
