import { Backoff } from './backoff.ts'
import { readFrame } from './frame.ts'
import { ADDRESS_FULL, isReconnectable, type ClientFrame, type Refusal, type ServerFrame } from './protocol.ts'

/** An event handler. Declared as a method, so that a handler of a more specific event fits, as those of the DOM are. */
type Listener<Event> = { handle(event: Event): void }['handle'] | null

/** What a connection needs of a WebSocket, whoever made it. */
export type Socket = {
  onopen: Listener<unknown>
  onmessage: Listener<{ data: unknown }>
  onclose: Listener<{ code: number }>
  onerror: Listener<unknown>
  send(text: string): void
  close(code?: number): void
}

/** Why a connection does not come about, where that is known. It may pass: the client goes on trying. */
export type Obstacle =
  /** Too many connections come from the address of this client. */
  | 'address_full'
  /** The server does not accept pages of this origin, or requests for this host. */
  | 'origin_refused'
  /** The server answers over HTTP, and takes no WebSocket: a proxy may not let it through. */
  | 'socket_blocked'

/** Times are those of `performance.now()`: nobody sets that clock. */
export type Link =
  | { state: 'idle' }
  | { state: 'connecting'; obstacle?: Obstacle }
  /** Welcomed; what was missed is coming in. */
  | { state: 'replaying' }
  | { state: 'live' }
  | { state: 'waiting'; until: number; obstacle?: Obstacle }
  | { state: 'offline' }
  /** The server does not take the hello. Another name, or fewer rooms, may be taken. */
  | { state: 'refused'; refusal: Refusal }
  /** The server does not want this client back, or this side closed it (1000). */
  | { state: 'stopped'; code: number }

type ConnectionOptions = {
  open: () => Socket
  hello: () => ClientFrame
  onFrame: (frame: ServerFrame) => void
  onLink: (link: Link) => void
  /** Finds out why sockets do not open, as far as that can be told. */
  diagnose?: () => Promise<Obstacle | undefined>
  isOnline?: () => boolean
  random?: () => number
}

const CONNECT_TIMEOUT_MS = 10_000
const HEARTBEAT_GRACE_MS = 10_000
const STABLE_AFTER_MS = 10_000
const PROBE_TIMEOUT_MS = 5000
/** Without a network there is nothing to wait for. The server may be on this machine, and answer all the same. */
const OFFLINE_PROBE_TIMEOUT_MS = 2000
/** One socket may fail because the server was just about to start. */
const FAILURES_UNTIL_DIAGNOSIS = 2

type Timer = ReturnType<typeof setTimeout> | undefined

/** A connection to the server that opens a new socket when one is lost. */
export class Connection {
  #link: Link = { state: 'idle' }
  #socket: Socket | undefined
  #isClosed = false
  #isOpening = false
  /** How many sockets in a row did not open. */
  #unopened = 0
  #isDiagnosing = false
  #obstacle: Obstacle | undefined
  #lastFrameAt = 0
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

  /** Connects now, whatever it was waiting for, with or without a network, and whatever the server said. Leaves a connection that stands. */
  start() {
    if (!this.#socket && !this.#isClosed) this.#connect()
  }

  /** Connects anew, so that the server gets a new hello. */
  restart() {
    if (this.#link.state === 'stopped') return
    this.#dropSocket()
    this.#connect()
  }

  /** The server does not take the hello, and would not take it the next time. */
  refuse(refusal: Refusal) {
    this.#dropSocket()
    this.#setLink({ state: 'refused', refusal })
  }

  /** Closes the connection from this side, for good. */
  close() {
    this.#isClosed = true
    this.#dropSocket()
    this.#setLink({ state: 'stopped', code: 1000 })
  }

  /** The network or the page came back: a waiting client connects, unless a draining server set the time; a live connection is probed. */
  wake() {
    const { state } = this.#link
    const hasSlot = this.#drainMs !== undefined
    if ((state === 'waiting' && !hasSlot) || state === 'offline') this.#reconnect()
    if (state === 'live') this.#sendProbe(PROBE_TIMEOUT_MS)
  }

  /** The network went away: no attempts until it is back, and a connection that seems to stand is probed. */
  sleep() {
    const { state } = this.#link
    if (state === 'waiting') this.#goOffline()
    if (state === 'live' || state === 'replaying') this.#sendProbe(OFFLINE_PROBE_TIMEOUT_MS)
  }

  send(frame: ClientFrame) {
    this.#socket?.send(JSON.stringify(frame))
  }

  /** Connects if the browser is online. Only `start` connects regardless: a server on this machine needs no network. */
  #reconnect() {
    if (this.#isOffline) this.#goOffline()
    else this.start()
  }

  get #isOffline(): boolean {
    return this.#options.isOnline?.() === false
  }

  #goOffline() {
    clearTimeout(this.#retry)
    this.#setLink({ state: 'offline' })
  }

  #connect() {
    clearTimeout(this.#retry)
    const socket = this.#options.open()
    socket.onopen = () => {
      this.#isOpening = false
      this.#unopened = 0
      this.send(this.#options.hello())
    }
    socket.onmessage = ({ data }) => this.#receive(data)
    socket.onclose = ({ code }) => this.#onLoss(code)
    // a close follows each error; without a listener, an error would end a program on Node.js
    socket.onerror = () => {}
    this.#socket = socket
    this.#drainMs = undefined
    this.#isOpening = true
    this.#setLink({ state: 'connecting', ...this.#obstacleField })
    this.#limitSilence(CONNECT_TIMEOUT_MS)
  }

  #receive(data: unknown) {
    this.#lastFrameAt = performance.now()
    const frame = readFrame(data)
    if (!frame) return
    switch (frame.type) {
      case 'welcome':
        this.#obstacle = undefined
        this.#limitSilence(frame.heartbeat_ms + HEARTBEAT_GRACE_MS)
        this.#stable = setTimeout(() => this.#backoff.reset(), STABLE_AFTER_MS)
        this.#setLink({ state: 'replaying' })
        break
      case 'drain':
        this.#drainMs = frame.reconnect_after_ms
        break
    }
    this.#options.onFrame(frame)
    if (frame.type === 'live') this.#setLink({ state: 'live' })
  }

  /** Gives the socket up when no frame comes for this long. */
  #limitSilence(silenceMs: number) {
    clearTimeout(this.#silence)
    this.#silenceMs = silenceMs
    this.#lastFrameAt = performance.now()
    this.#checkSilenceIn(silenceMs)
  }

  #checkSilenceIn(delay: number) {
    this.#silence = setTimeout(() => {
      const left = this.#lastFrameAt + this.#silenceMs - performance.now()
      if (left > 0) this.#checkSilenceIn(left)
      else this.#onLoss(1006)
    }, delay)
  }

  #sendProbe(timeoutMs: number) {
    const askedAt = performance.now()
    clearTimeout(this.#probe)
    this.send({ type: 'ping' })
    this.#probe = setTimeout(() => {
      if (this.#lastFrameAt < askedAt) this.#onLoss(1006)
    }, timeoutMs)
  }

  #onLoss(code: number) {
    const drainMs = this.#drainMs
    this.#dropSocket()
    if (!isReconnectable(code)) {
      this.#setLink({ state: 'stopped', code })
      return
    }
    // neither the server's fault, nor a matter of time
    if (this.#isOffline) {
      this.#goOffline()
      return
    }
    if (this.#isOpening) this.#unopened += 1
    if (code === ADDRESS_FULL) this.#obstacle = 'address_full'
    else if (!this.#isOpening) this.#obstacle = undefined
    const delay = drainMs ?? this.#backoff.next()
    this.#retry = setTimeout(() => this.#reconnect(), delay)
    this.#setLink({ state: 'waiting', until: performance.now() + delay, ...this.#obstacleField })
    if (this.#unopened >= FAILURES_UNTIL_DIAGNOSIS) void this.#diagnose()
  }

  /** A browser does not say why a socket did not open. */
  async #diagnose() {
    if (this.#isDiagnosing) return
    this.#isDiagnosing = true
    const obstacle = await this.#options.diagnose?.()
    this.#isDiagnosing = false
    const link = this.#link
    // a socket may stand by now
    if (this.#unopened < FAILURES_UNTIL_DIAGNOSIS || (link.state !== 'waiting' && link.state !== 'connecting')) return
    this.#obstacle = obstacle
    const { obstacle: _, ...rest } = link
    this.#setLink({ ...rest, ...this.#obstacleField })
  }

  get #obstacleField(): { obstacle?: Obstacle } {
    return this.#obstacle === undefined ? {} : { obstacle: this.#obstacle }
  }

  #dropSocket() {
    for (const timer of [this.#retry, this.#silence, this.#stable, this.#probe]) clearTimeout(timer)
    const socket = this.#socket
    this.#socket = undefined
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(1000)
  }

  #setLink(link: Link) {
    this.#link = link
    this.#options.onLink(link)
  }
}
