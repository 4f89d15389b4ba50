import { beforeEach, expect, test, vi } from 'vitest'
import { Client } from './client.ts'
import { BOB, FakeSocket, ME, message } from './fake.ts'
import type { ClientFrame, Message, ServerFrame } from './protocol.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

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

/** A server with a log, behind a network that takes its time and is cut at any moment. */
class StormyServer {
  readonly log: Message[] = []
  readonly #random: () => number
  #socket: FakeSocket | undefined

  constructor(random: () => number) {
    this.#random = random
  }

  readonly open = (): FakeSocket => {
    const socket = new FakeSocket()
    socket.send = (text) => this.#later(socket, () => this.#hear(socket, JSON.parse(text)))
    this.#socket = socket
    this.#later(socket, () => socket.open())
    return socket
  }

  readonly history = async () => ({ messages: [], next: null })

  cut() {
    const socket = this.#socket
    this.#socket = undefined
    socket?.end(1006)
  }

  say(fields: Partial<Message>): Message {
    const said = message((this.log.at(-1)?.seq ?? 100) + 1 + Math.floor(this.#random() * 3), fields)
    this.log.push(said)
    this.#tell({ type: 'message', ...said })
    return said
  }

  /** Redis lost the newest message, and it is put back. */
  move() {
    const last = this.log.pop()
    if (last) this.say({ ...last, seq: last.seq + 1000, was: last.seq })
  }

  #hear(socket: FakeSocket, frame: ClientFrame) {
    if (frame.type === 'hello') {
      const from = frame.resume?.seq ?? this.log.at(-1)?.seq ?? 100
      socket.greet({ seq: from, resumed: frame.resume !== undefined })
      for (const said of this.log) if (said.seq > from) socket.say({ type: 'message', ...said })
      socket.say({ type: 'live', seq: this.log.at(-1)?.seq ?? 100 })
    }
    if (frame.type === 'publish') {
      const { id, body } = frame
      const known = this.log.find((said) => said.from.id === ME.id && said.id === id)
      const { seq } = known ?? this.say({ id, body, from: ME })
      this.#tell({ type: 'ack', id, seq, instance: 'a', accepted_at: Date.now(), logged_at: Date.now() })
    }
  }

  #tell(frame: ServerFrame) {
    const socket = this.#socket
    if (socket) this.#later(socket, () => socket.say(frame))
  }

  /** In the order of the calls, unless the connection is cut before. */
  #later(socket: FakeSocket, then: () => void) {
    setTimeout(() => {
      if (socket === this.#socket && !socket.isClosed) then()
    }, 20)
  }
}

test.each(Array.from({ length: 50 }, (_, seed) => seed))('in storm %i nothing is lost and nothing comes twice', async (seed) => {
  const random = randomOf(seed)
  const server = new StormyServer(random)
  const client = new Client({ server, name: 'Ann', random })
  const heard: Message[] = []
  client.on('message', (said) => heard.push(said))
  client.connect()
  vi.advanceTimersByTime(1000)

  const written: Promise<unknown>[] = []
  for (let step = 0; step < 200; step += 1) {
    const chance = random()
    if (chance < 0.35) written.push(client.publish('lobby', `mine ${written.length}`))
    else if (chance < 0.6) server.say({ id: `theirs-${step}`, body: `theirs ${step}`, from: BOB })
    else if (chance < 0.7) server.cut()
    else if (chance < 0.75) server.move()
    vi.advanceTimersByTime(Math.floor(random() * 60))
  }
  await vi.advanceTimersByTimeAsync(30_000)

  await Promise.all(written)
  expect(client.unsent).toEqual([])
  const mine = server.log.filter(({ from }) => from.id === ME.id).map(({ body }) => body)
  expect(mine.toSorted()).toEqual(Array.from(written, (_, n) => `mine ${n}`).toSorted())
  expect(heard.map(({ body }) => body).toSorted()).toEqual(server.log.map(({ body }) => body).toSorted())
})
