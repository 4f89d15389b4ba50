import { vi } from 'vitest'
import { Client, type ClientOptions } from './client'
import type { Socket } from './connection'
import type { Page } from './history'
import { DEFAULT_LIMITS, type ClientFrame, type Message, type ServerFrame, type Welcome } from './protocol'
import { Storage } from './storage'

export const ME = { id: 'me', name: 'Ann' }
export const BOB = { id: 'bob', name: 'Bob' }

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  onopen: Socket['onopen'] = null
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  isClosed = false
  readonly sent: ClientFrame[] = []

  send(text: string) {
    this.sent.push(JSON.parse(text))
  }

  close() {
    this.isClosed = true
  }

  open() {
    this.onopen?.(new Event('open'))
  }

  say(frame: ServerFrame) {
    this.onmessage?.(new MessageEvent('message', { data: JSON.stringify(frame) }))
  }

  end(code: number) {
    this.onclose?.(new CloseEvent('close', { code }))
  }

  /** Opens and greets, up to where the replay begins. */
  welcome(welcome: Partial<Welcome> = {}) {
    this.open()
    this.greet(welcome)
  }

  greet(welcome: Partial<Welcome> = {}) {
    this.say({
      type: 'welcome',
      version: 1,
      connection: 1,
      instance: 'a',
      user: ME,
      seq: 100,
      resumed: false,
      heartbeat_ms: 25_000,
      dedupe_ms: 120_000,
      limits: DEFAULT_LIMITS,
      count: { connections: 1, instances: 1, settling: false },
      relay: 'live',
      ...welcome,
    })
  }

  live(seq = 100) {
    this.welcome()
    this.say({ type: 'live', seq })
  }

  published(): Extract<ClientFrame, { type: 'publish' }>[] {
    return this.sent.filter((frame) => frame.type === 'publish')
  }

  publishedBodies(): string[] {
    return this.published().map(({ body }) => body)
  }

  /** Acknowledges a publish that was sent on any socket. */
  ack(id: string, seq: number) {
    this.say({ type: 'ack', id, seq, instance: 'a', accepted_at: Date.now(), logged_at: Date.now() })
  }
}

/** The sockets that were opened, one after the other. */
export class FakeNetwork {
  readonly sockets: FakeSocket[] = []

  readonly open = (): FakeSocket => {
    const socket = new FakeSocket()
    this.sockets.push(socket)
    return socket
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1)
    if (!socket) throw new Error('no socket was opened')
    return socket
  }
}

export function message(seq: number, fields: Partial<Message> = {}): Message {
  return { seq, room: 'lobby', id: `m${seq}`, from: BOB, body: `message ${seq}`, at: Date.now(), ...fields }
}

export function memory(): Storage {
  const values = new Map<string, string>()
  return new Storage(() => ({
    getItem: (name) => values.get(name) ?? null,
    setItem: (name, value) => void values.set(name, value),
    removeItem: (name) => void values.delete(name),
  }))
}

/** A client in the lobby, with a name, at the end of a fake network. */
export function enterLobby(options: Partial<ClientOptions> = {}) {
  const network = new FakeNetwork()
  const history = vi.fn<ClientOptions['history']>(async (): Promise<Page> => ({ messages: [], next: null }))
  const storage = options.storage ?? memory()
  storage.write('name', 'Ann')
  const client = new Client({ socket: network.open, history, storage, random: () => 1, ...options })
  client.enter('lobby')
  return { client, network, history, storage }
}

/** Lets what was promised come true. */
export async function settle() {
  await vi.advanceTimersByTimeAsync(0)
}
