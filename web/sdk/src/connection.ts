import { Backoff } from './backoff.ts'
import { readFrame } from './frame.ts'
import { isReconnectable, type ClientFrame, type Refusal, type ServerFrame } from './protocol.ts'

/** A listener whose event may have more to it than is used here. Only a method may be implemented so. */
type Listener<Event> = { hear(event: Event): void }['hear'] | null

/** What a connection needs of a WebSocket, whoever made it. */
export type Socket = {
  onopen: Listener<unknown>
  onmessage: Listener<{ data: unknown }>
  onclose: Listener<{ code: number }>
  onerror: Listener<unknown>
  send(text: string): void
  close(code?: number): void
}

export type Link =
  | { state: 'idle' }
  | { state: 'connecting' }
  /** Welcomed; what was missed is coming in. */
  | { state: 'replaying' }
  | { state: 'live' }
  | { state: 'waiting'; until: number }
  | { state: 'offline' }
  /** The server does not take the hello. Another name, or fewer rooms, may be taken. */
  | { state: 'refused'; refusal: Refusal }
  /** It is over: the server does not want this client back, or this side closed it (1000). */
  | { state: 'stopped'; code: number }

export type ConnectionOptions = {
  open: () => Socket
  hello: () => ClientFrame
  onFrame: (frame: ServerFrame) => void
  onLink: (link: Link) => void
  isOnline?: () => boolean
  random?: () => number
}

const CONNECT_TIMEOUT_MS = 10_000
const HEARTBEAT_GRACE_MS = 10_000
const STABLE_AFTER_MS = 10_000
const PROBE_TIMEOUT_MS = 5000

type Timer = ReturnType<typeof setTimeout> | undefined

/** One conversation with the server that survives its sockets. */
export class Connection {
  #link: Link = { state: 'idle' }
  #socket: Socket | undefined
  #heardAt = 0
  #silenceMs = CONNECT_TIMEOUT_MS
  /** When a draining server wants this client back, counted from the close. */
  #drainMs: number | undefined
  #retry: Timer
  #silence: Timer
  #stable: Timer
  #probe: Timer
  readonly #backoff: Backoff
  readonly #options: ConnectionOptions

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#backoff = new Backoff(options.random)
  }

  get link(): Link {
    return this.#link
  }

  /** Connects now, whatever it was waiting for, with or without a network. Leaves a connection that stands, and a server that wants no more. */
  start() {
    if (!this.#socket && this.#link.state !== 'stopped') this.#connect()
  }

  /** Connects anew, so that the server hears a new hello. */
  restart() {
    if (this.#link.state === 'stopped') return
    this.#drop()
    this.#connect()
  }

  /** The server does not take the hello, and would not take it the next time. */
  refuse(refusal: Refusal) {
    this.#drop()
    this.#enter({ state: 'refused', refusal })
  }

  /** Ends the conversation from this side, for good. */
  close() {
    this.#drop()
    this.#enter({ state: 'stopped', code: 1000 })
  }

  /** The network or the page came back: who waits connects, unless a draining server said when; what stood is put to the test. */
  wake() {
    const { state } = this.#link
    const hasSlot = this.#drainMs !== undefined
    if ((state === 'waiting' && !hasSlot) || state === 'offline') this.#reconnect()
    if (state === 'live') this.#test()
  }

  /** The network went away: trying has no point until it is back. */
  sleep() {
    if (this.#link.state === 'waiting') this.#rest()
  }

  send(frame: ClientFrame) {
    this.#socket?.send(JSON.stringify(frame))
  }

  /** Connects if there is a network. It takes a person to know that a server can be reached without. */
  #reconnect() {
    if (this.#options.isOnline?.() === false) this.#rest()
    else this.start()
  }

  #rest() {
    clearTimeout(this.#retry)
    this.#enter({ state: 'offline' })
  }

  #connect() {
    clearTimeout(this.#retry)
    const socket = this.#options.open()
    socket.onopen = () => this.send(this.#options.hello())
    socket.onmessage = ({ data }) => this.#hear(data)
    socket.onclose = ({ code }) => this.#lose(code)
    // a close follows each error; unheard, an error would end a program on Node.js
    socket.onerror = () => {}
    this.#socket = socket
    this.#drainMs = undefined
    this.#enter({ state: 'connecting' })
    this.#listen(CONNECT_TIMEOUT_MS)
  }

  #hear(data: unknown) {
    this.#heardAt = Date.now()
    const frame = readFrame(data)
    if (!frame) return
    switch (frame.type) {
      case 'welcome':
        this.#listen(frame.heartbeat_ms + HEARTBEAT_GRACE_MS)
        this.#stable = setTimeout(() => this.#backoff.reset(), STABLE_AFTER_MS)
        this.#enter({ state: 'replaying' })
        break
      case 'drain':
        this.#drainMs = frame.reconnect_after_ms
        break
    }
    this.#options.onFrame(frame)
    if (frame.type === 'live') this.#enter({ state: 'live' })
  }

  /** Gives the socket up if nothing is heard for this long. */
  #listen(silenceMs: number) {
    clearTimeout(this.#silence)
    this.#silenceMs = silenceMs
    this.#heardAt = Date.now()
    this.#watch(silenceMs)
  }

  #watch(delay: number) {
    this.#silence = setTimeout(() => {
      const left = this.#heardAt + this.#silenceMs - Date.now()
      if (left > 0) this.#watch(left)
      else this.#lose(1006)
    }, delay)
  }

  #test() {
    const askedAt = Date.now()
    clearTimeout(this.#probe)
    this.send({ type: 'ping' })
    this.#probe = setTimeout(() => {
      if (this.#heardAt < askedAt) this.#lose(1006)
    }, PROBE_TIMEOUT_MS)
  }

  #lose(code: number) {
    const drainMs = this.#drainMs
    this.#drop()
    if (!isReconnectable(code)) {
      this.#enter({ state: 'stopped', code })
      return
    }
    const delay = drainMs ?? this.#backoff.next()
    this.#retry = setTimeout(() => this.#reconnect(), delay)
    this.#enter({ state: 'waiting', until: Date.now() + delay })
  }

  #drop() {
    for (const timer of [this.#retry, this.#silence, this.#stable, this.#probe]) clearTimeout(timer)
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(1000)
  }

  #enter(link: Link) {
    this.#link = link
    this.#options.onLink(link)
  }
}
