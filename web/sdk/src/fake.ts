import { vi } from 'vitest'
import { Chat, type ChatOptions } from './chat.ts'
import type { Socket } from './connection.ts'
import type { History, Page } from './history.ts'
import { LIMITS, type ClientFrame, type Message, type ServerFrame, type Welcome } from './protocol.ts'
import { memoryStorage, Storage } from './storage.ts'
import type { Locks } from './tab.ts'

export { Room } from './room.ts'

export const ME = { id: 'me', name: 'Ann' }
export const BOB = { id: 'bob', name: 'Bob' }

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  onopen: Socket['onopen'] = null
  onmessage: Socket['onmessage'] = null
  onclose: Socket['onclose'] = null
  onerror: Socket['onerror'] = null
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
      limits: LIMITS,
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

/** A chat in the lobby, with a name, at the end of a fake network. */
export function enterLobby(options: Partial<ChatOptions> = {}) {
  const network = new FakeNetwork()
  const history = vi.fn<History>(async (): Promise<Page> => ({ messages: [], next: null }))
  const storage = options.storage ?? memoryStorage()
  storage.write('name', 'Ann')
  const chat = new Chat({ server: { open: network.open, history }, storage, random: () => 1, ...options })
  chat.enter('lobby')
  return { chat, network, history, storage }
}

/** Lets what was promised come true. */
export async function settle() {
  await vi.advanceTimersByTimeAsync(0)
}

/** A storage that can be full, and that names what it has in no order of time, as browsers do. */
export function limitedStorage() {
  const values = new Map<string, string>()
  let isFull = false
  const setItem = vi.fn<(name: string, value: string) => void>((name, value) => {
    if (isFull) throw new DOMException('full', 'QuotaExceededError')
    values.set(name, value)
  })
  const area = {
    setItem,
    getItem: (name: string) => values.get(name) ?? null,
    removeItem: (name: string) => void values.delete(name),
    key: (index: number) => [...values.keys()].toSorted()[index] ?? null,
    get length() {
      return values.size
    },
  }
  const fill = () => {
    isFull = true
  }
  return { storage: new Storage(() => area), setItem, fill }
}

/** Locks as browsers have them: whoever asks for one waits until those who asked before let it go. */
export class FakeLocks implements Locks {
  readonly #queues = new Map<string, Promise<unknown>>()

  request(name: string, { signal }: { signal?: AbortSignal }, callback: () => Promise<void> | void) {
    const turn = (this.#queues.get(name) ?? Promise.resolve()).then(() => {
      signal?.throwIfAborted()
      return callback()
    })
    this.#queues.set(name, turn.catch(() => {}))
    return turn
  }
}

/** What the browser tells a tab after another one changed the storage. */
export function announceChange(name: string) {
  window.dispatchEvent(new StorageEvent('storage', { key: `hubbub.${name}` }))
}

/** The lobby, as the chat shows it. */
export function lobby(chat: Chat) {
  const room = chat.snapshot().rooms.find(({ name }) => name === 'lobby')
  if (!room) throw new Error('not in the lobby')
  return room
}

/** What is said in the lobby, from top to bottom. */
export function bodies(chat: Chat): string[] {
  return lobby(chat).messages.map(({ body }) => body)
}

/** What is unsent in the lobby, and why it failed. */
export function outgoing(chat: Chat): [string, string | undefined][] {
  return lobby(chat).outgoing.map(({ body, fault }) => [body, fault])
}
