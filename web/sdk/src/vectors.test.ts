import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Client } from './client.ts'
import type { Socket } from './connection.ts'

/** The vectors that every client of the protocol keeps. `tests/vectors/README.md` says what they mean. */

type Frame = Record<string, unknown> & { type: string }

/** What the client has done in one step, as the vectors write it. */
type Effects = {
  sent: Frame[]
  shown: string[]
  acked: { id: string; seq: number }[]
  failed: { id: string; code: string }[]
  reset: { seq: number; reason: string }[]
  opens: number
}

type Action = {
  connect?: true
  server?: Frame[]
  cut?: number
  publish?: string[]
  join?: string
  leave?: string
  advance_ms?: number
}

type Step = Action & Partial<Effects> & { cursor?: number }

type Vector = {
  name: string
  clients?: string[]
  start: { rooms?: string[]; live?: number }
  steps: Step[]
}

type Fields = Record<string, unknown>

type Defaults = {
  people: Record<string, Fields>
  client: Record<string, Fields> & { hello: { name: string; session: string; rooms: string[] } }
  server: Record<string, Fields>
}

const VECTORS = findVectors(dirname(fileURLToPath(import.meta.url)))
const DEFAULTS: Defaults = read('defaults.json')
const ACTIONS = new Set(['connect', 'server', 'cut', 'publish', 'join', 'leave', 'advance_ms'])

function findVectors(dir: string): string {
  const vectors = join(dir, 'tests', 'vectors')
  if (existsSync(vectors)) return vectors
  if (dirname(dir) === dir) throw new Error('no tests/vectors above this file')
  return findVectors(dirname(dir))
}

function read(name: string) {
  return JSON.parse(readFileSync(join(VECTORS, name), 'utf8'))
}

/** A client whose server, network and clock are the vector's. */
class Rig {
  #effects: Effects = noEffects()
  #socket: Socket | undefined
  /** The real id of each name. */
  readonly #ids = new Map<string, string>()
  readonly client: Client

  constructor(rooms: string[]) {
    const { name, session } = DEFAULTS.client.hello
    const server = { open: () => this.#open(), history: async () => ({ messages: [], next: null }) }
    this.client = new Client({ server, name, session, rooms, random: () => 0 })
    this.client.on('message', ({ id }) => this.#effects.shown.push(this.#nameOf(id)))
    this.client.on('sent', ({ id, seq }) => this.#effects.acked.push({ id: this.#nameOf(id), seq }))
    this.client.on('failed', ({ id, code }) => this.#effects.failed.push({ id: this.#nameOf(id), code }))
    this.client.on('reset', ({ seq, reason }) => this.#effects.reset.push({ seq, reason }))
    this.client.connect()
  }

  /** Does the action, and whatever is due then. */
  async act(action: Action) {
    if (action.connect) this.#opened().onopen?.({})
    for (const frame of action.server ?? []) this.#opened().onmessage?.({ data: JSON.stringify(this.#complete(frame)) })
    if (action.cut !== undefined) this.#opened().onclose?.({ code: action.cut })
    for (const name of action.publish ?? []) this.#publish(name)
    if (action.join !== undefined) this.client.join(action.join)
    if (action.leave !== undefined) this.client.leave(action.leave)
    await vi.advanceTimersByTimeAsync(action.advance_ms ?? 0)
  }

  /** What the client has done since the last call. */
  take(): Effects {
    const { sent, ...effects } = this.#effects
    this.#effects = noEffects()
    // a frame may go out before the client has returned the id in it
    return { ...effects, sent: sent.map((frame) => this.#named(frame)) }
  }

  #open(): Socket {
    this.#effects.opens += 1
    const send = (text: string) => this.#effects.sent.push(JSON.parse(text))
    this.#socket = { onopen: null, onmessage: null, onclose: null, onerror: null, send, close: () => {} }
    return this.#socket
  }

  #opened(): Socket {
    if (!this.#socket) throw new Error('no connection was opened')
    return this.#socket
  }

  #publish(name: string) {
    this.#ids.set(name, this.client.send('lobby', String(DEFAULTS.client['publish']?.['body'])))
  }

  #complete(frame: Frame): Frame {
    const full: Frame = { ...DEFAULTS.server[frame.type], ...frame }
    if (typeof full['id'] === 'string') full['id'] = this.#ids.get(full['id']) ?? full['id']
    if (typeof full['from'] === 'string') full['from'] = DEFAULTS.people[full['from']]
    return full
  }

  #nameOf(id: string): string {
    return [...this.#ids].find(([, other]) => other === id)?.[0] ?? id
  }

  #named(frame: Frame): Frame {
    return typeof frame['id'] === 'string' ? { ...frame, id: this.#nameOf(frame['id']) } : frame
  }
}

function noEffects(): Effects {
  return { sent: [], shown: [], acked: [], failed: [], reset: [], opens: 0 }
}

function expected({ sent = [], ...step }: Step): Effects {
  const effects = Object.entries(step).filter(([key]) => key !== 'cursor' && !ACTIONS.has(key))
  return { ...noEffects(), ...Object.fromEntries(effects), sent: sent.map((frame) => ({ ...DEFAULTS.client[frame.type], ...frame })) }
}

async function start({ rooms = DEFAULTS.client.hello.rooms, live }: Vector['start']): Promise<Rig> {
  const rig = new Rig(rooms)
  if (live !== undefined) {
    await rig.act({ connect: true })
    await rig.act({ server: [{ type: 'welcome', seq: live }, { type: 'live', seq: live }] })
  }
  rig.take()
  return rig
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 })
})

afterEach(() => {
  vi.useRealTimers()
})

for (const file of readdirSync(VECTORS).filter((name) => name.endsWith('.json') && name !== 'defaults.json')) {
  const vectors: Vector[] = read(file)
  const ours = vectors.filter(({ clients }) => clients?.includes('typescript') ?? true)
  for (const vector of ours) {
    test(`${file}: ${vector.name}`, async () => {
      const rig = await start(vector.start)
      for (const [index, step] of vector.steps.entries()) {
        await rig.act(step)
        const cursor = 'cursor' in step ? rig.client.cursor : undefined
        expect({ ...rig.take(), cursor }, `step ${index + 1}`).toEqual({ ...expected(step), cursor: step.cursor })
      }
      rig.client.close()
    })
  }
}
