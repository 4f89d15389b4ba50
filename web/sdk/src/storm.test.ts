import { beforeEach, expect, test, vi } from 'vitest'
import { Chat } from './chat.ts'
import { BOB, FakeLocks, FakeSocket, ME, message } from './fake.ts'
import type { Page, Range } from './history.ts'
import type { ClientFrame, Message, ServerFrame } from './protocol.ts'
import type { RoomView } from './room.ts'
import { memoryStorage } from './storage.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

/** Ten storms in one test take some seconds, and longer on a busy machine. */
const TIMEOUT_MS = 60_000
const ONE_WAY_MS = 20
const PAGE = 20
const ROOMS = ['lobby', 'kitchen']

/** The same numbers in every run of a seed, from 0 up to 1 (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How much a connection may publish: a bucket that is full at first, and smaller than what is written. */
class Bucket {
  readonly #burst: number
  readonly #perMs: number
  #tokens: number
  #at = Date.now()

  constructor(random: () => number) {
    this.#tokens = this.#burst = 10 + Math.floor(random() * 10)
    this.#perMs = (10 + random() * 5) / 1000
  }

  /** How long the next one has to wait. */
  take(): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + (Date.now() - this.#at) * this.#perMs)
    this.#at = Date.now()
    if (this.#tokens < 1) return Math.floor((1 - this.#tokens) / this.#perMs) + 1
    this.#tokens -= 1
    return 0
  }
}

/** A server with a log, behind a network that takes its time and is cut at any moment. */
class StormyServer {
  readonly log: Message[] = []
  readonly refusals = new Set<string>()
  resets = 0
  readonly #random: () => number
  /** The lowest cursor that can be taken up. */
  #floor = 0
  #isDraining = false
  #bucket: Bucket
  #socket: FakeSocket | undefined
  /** The socket, once it was welcomed. */
  #member: FakeSocket | undefined

  constructor(random: () => number) {
    this.#random = random
    this.#bucket = new Bucket(random)
  }

  get #top(): number {
    return this.log.at(-1)?.seq ?? 100
  }

  readonly open = (): FakeSocket => {
    const socket = new FakeSocket()
    socket.send = (text) => this.#later(socket, () => this.#receive(socket, JSON.parse(text)))
    this.#socket = socket
    this.#member = undefined
    this.#isDraining = false
    this.#bucket = new Bucket(this.#random)
    this.#later(socket, () => socket.open())
    return socket
  }

  /** The answer is what an instance, which may be behind, knew some time on its way; or none comes. */
  readonly history = async (room: string, { before = Infinity }: Range = {}): Promise<Page> => {
    await this.#pause()
    const behind = this.#random() < 0.3 ? Math.floor(this.#random() * 5) : 0
    const seq = this.log.at(-1 - behind)?.seq ?? 100
    const said = this.log.filter((logged) => logged.room === room && logged.seq < before && logged.seq <= seq)
    const messages = said.slice(-PAGE)
    await this.#pause()
    if (this.#random() < 0.1) throw new Error('history did not answer')
    return { messages, next: said.length > PAGE ? (messages[0]?.seq ?? null) : null, seq }
  }

  cut() {
    const socket = this.#socket
    this.#socket = this.#member = undefined
    socket?.end(1006)
  }

  drain() {
    const socket = this.#member
    if (!socket || this.#isDraining) return
    this.#isDraining = true
    this.#tell({ type: 'drain', reconnect_after_ms: Math.floor(this.#random() * 200) })
    this.#later(socket, () => {
      this.#socket = this.#member = undefined
      socket.end(1012)
    })
  }

  /** No cursor of before can be taken up any more. */
  forget() {
    this.#floor = this.#top + 1
  }

  /** The instance missed a part of the log, and says so. */
  miss(said: Partial<Message>[]) {
    for (const fields of said) this.#log(fields)
    this.#tell({ type: 'reset', seq: this.#top, reason: 'hole' })
    this.resets += 1
  }

  say(fields: Partial<Message>): Message {
    const said = this.#log(fields)
    this.#tell({ type: 'message', ...said })
    return said
  }

  /** Redis lost the newest message, and it is put back. */
  move() {
    const last = this.log.pop()
    if (last) this.say({ ...last, seq: last.seq + 1000, was: last.seq })
  }

  #log(fields: Partial<Message>): Message {
    const said = message(this.#top + 1 + Math.floor(this.#random() * 3), fields)
    this.log.push(said)
    return said
  }

  #receive(socket: FakeSocket, frame: ClientFrame) {
    if (frame.type === 'hello') this.#welcome(socket, frame.resume?.seq)
    if (frame.type === 'publish') this.#take(frame)
  }

  #welcome(socket: FakeSocket, cursor: number | undefined) {
    const isKnown = cursor !== undefined && cursor >= this.#floor
    const from = isKnown ? cursor : this.#top
    socket.greet({ seq: from, resumed: isKnown })
    if (cursor !== undefined && !isKnown) {
      socket.say({ type: 'reset', seq: from, reason: 'too_old' })
      this.resets += 1
    }
    for (const said of this.log) if (said.seq > from) socket.say({ type: 'message', ...said })
    socket.say({ type: 'live', seq: this.#top })
    this.#member = socket
  }

  #take({ id, room, body }: Extract<ClientFrame, { type: 'publish' }>) {
    const wait = this.#bucket.take()
    if (wait > 0) return this.#tell({ type: 'error', code: 'rate_limited', detail: 'slow down', id, retry_after_ms: wait })
    if (this.#isDraining) return this.#tell({ type: 'error', code: 'draining', detail: 'draining', id })
    const known = this.log.find((said) => said.from.id === ME.id && said.id === id)
    const { seq } = known ?? this.say({ id, room, body, from: ME })
    this.#tell({ type: 'ack', id, seq, instance: 'a', accepted_at: Date.now(), logged_at: Date.now() })
  }

  #tell(frame: ServerFrame) {
    if (frame.type === 'error') this.refusals.add(frame.code)
    const socket = this.#member
    if (socket) this.#later(socket, () => socket.say(frame))
  }

  /** In the order of the calls, unless the connection is cut before. */
  #later(socket: FakeSocket, then: () => void) {
    setTimeout(() => {
      if (socket === this.#socket && !socket.isClosed) then()
    }, ONE_WAY_MS)
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#random() * 3 * ONE_WAY_MS))
  }
}

/** One person in front of a chat that is loaded anew at any moment. */
class Visitor {
  #chat: Chat
  readonly #load: () => Chat

  constructor(server: StormyServer, random: () => number) {
    const [storage, locks] = [memoryStorage(), new FakeLocks()]
    storage.write('name', 'Ann')
    this.#load = () => {
      const chat = new Chat({ server, storage, locks, random })
      for (const room of ROOMS) chat.enter(room)
      return chat
    }
    this.#chat = this.#load()
  }

  get rooms(): readonly RoomView[] {
    return this.#chat.snapshot().rooms
  }

  say(room: string, body: string) {
    this.#chat.send(room, body)
  }

  goTo(room: string) {
    this.#chat.enter(room)
  }

  async reload() {
    this.#chat.close()
    this.#chat = this.#load()
    await vi.advanceTimersByTimeAsync(0)
  }

  /** Reads back to where the rooms begin. */
  async readAll() {
    const due = () => this.rooms.filter(({ hasOlder, history }) => hasOlder || history !== 'loaded')
    for (let page = 0; page < 100 && due().length > 0; page += 1) {
      for (const { name } of due()) void this.#chat.loadOlder(name)
      await vi.advanceTimersByTimeAsync(10 * ONE_WAY_MS)
    }
  }
}

function theirs(n: number, room: string): Partial<Message> {
  return { id: `theirs-${n}`, room, body: `theirs ${n}`, from: BOB }
}

/** Lets happen what may. Returns what the person wrote. */
async function rage(server: StormyServer, visitor: Visitor, random: () => number): Promise<string[]> {
  const written: string[] = []
  const anyRoom = () => ROOMS[Math.floor(random() * ROOMS.length)] ?? ''
  for (let step = 0; step < 250; step += 1) {
    const chance = random()
    if (chance < 0.4) {
      for (const body of [`mine ${step}`, `mine ${step} too`]) {
        written.push(body)
        visitor.say(anyRoom(), body)
      }
    } else if (chance < 0.65) server.say(theirs(step, anyRoom()))
    else if (chance < 0.7) server.cut()
    else if (chance < 0.74) server.drain()
    else if (chance < 0.78) server.forget()
    else if (chance < 0.82) server.miss([theirs(step, anyRoom()), theirs(step + 0.5, anyRoom())])
    else if (chance < 0.86) server.move()
    else if (chance < 0.88) await visitor.reload()
    else if (chance < 0.92) visitor.goTo(anyRoom())
    await vi.advanceTimersByTimeAsync(Math.floor(random() * 60))
  }
  return written
}

const SEEDS = Array.from({ length: 100 }, (_, seed) => seed)

test.each(SEEDS)('in storm %i nothing is lost, nothing comes twice, and all is in order', async (seed) => {
  const random = randomOf(seed)
  const server = new StormyServer(random)
  const visitor = new Visitor(server, random)
  await vi.advanceTimersByTimeAsync(1000)
  const written = await rage(server, visitor, random)
  await vi.advanceTimersByTimeAsync(60_000)
  await visitor.readAll()

  expect(server.log.filter(({ from }) => from.id === ME.id).map(({ body }) => body)).toEqual(written)
  for (const { name, outgoing, messages } of visitor.rooms) {
    expect(outgoing).toEqual([])
    expect(messages.map(({ body }) => body)).toEqual(server.log.filter(({ room }) => room === name).map(({ body }) => body))
  }
  expect(visitor.rooms.map(({ name }) => name).toSorted()).toEqual(ROOMS.toSorted())
})

test('the storms have every kind of weather', async () => {
  const refusals = new Set<string>()
  let resets = 0
  for (const seed of SEEDS.slice(0, 10)) {
    const random = randomOf(seed)
    const server = new StormyServer(random)
    await rage(server, new Visitor(server, random), random)
    for (const code of server.refusals) refusals.add(code)
    resets += server.resets
  }
  expect([...refusals].toSorted()).toEqual(['draining', 'rate_limited'])
  expect(resets).toBeGreaterThan(50)
}, TIMEOUT_MS)
