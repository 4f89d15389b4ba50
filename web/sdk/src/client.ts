import { Connection, type Link } from './connection.ts'
import { Courier, PublishError, type Failure, type Hold, type Receipt } from './courier.ts'
import { Emitter } from './emitter.ts'
import type { ClientEvents } from './events.ts'
import { completeHistory, type Page, type Range } from './history.ts'
import { Memberships, RoomError } from './memberships.ts'
import { Outbox, type Entry } from './outbox.ts'
import { Promises } from './promises.ts'
import {
  DEFAULT_ROOM,
  LIMITS,
  bodyFault,
  closeText,
  refusalText,
  wellFormed,
  type Ack,
  type ClientFrame,
  type Limits,
  type Message,
  type Refusal,
  type ResetReason,
  type ServerFrame,
  type User,
  type Welcome,
} from './protocol.ts'
import { Recent } from './recent.ts'
import { serverAt, type Server } from './server.ts'
import { Session } from './session.ts'
import { memoryStorage, type Storage } from './storage.ts'
import { Tab, type Locks } from './tab.ts'
import { followBrowser, isOnline } from './browser.ts'

export type ClientOptions = {
  /** Its address, `https:` or `wss:`, without TLS `http:` or `ws:`; or what `serverAt` makes of one. */
  server: string | URL | Server
  name: string
  /** The rooms to be in from the start, the lobby by default. */
  rooms?: Iterable<string>
  /** What makes this client the same sender as before. Otherwise it is read from the storage, or made. */
  session?: string
  /** Where the session and what is unsent are kept. By default they go with the program. */
  storage?: Storage
  /** Shows which tabs of a browser live. By default those of the browser, if it has them here. */
  locks?: Locks
  isOnline?: () => boolean
  random?: () => number
}

const TYPING_INTERVAL_MS = 2000
const RESYNC_AFTER_MS = 1000
const CLOSED = 'The client was closed.'

/** A client of the server, over any number of connections. Each publish is logged once, and each message is delivered once. */
export class Client {
  #name: string
  #user: User | undefined
  #limits = LIMITS
  #cursor: number | undefined
  #typedAt = -Infinity
  #isClosed = false
  #unfollow: (() => void) | undefined
  readonly #promises = new Promises()
  readonly #emitter = new Emitter<ClientEvents>()
  readonly #recent = new Recent()
  readonly #tab: Tab
  readonly #server: Server
  readonly #session: Session
  readonly #connection: Connection
  readonly #memberships: Memberships
  readonly #outbox: Outbox
  readonly #courier: Courier

  constructor({ server, name, session, ...options }: ClientOptions) {
    const { storage = memoryStorage(), locks = globalThis.navigator?.locks, rooms = [DEFAULT_ROOM] } = options
    this.#name = wellFormed(name)
    this.#server = typeof server === 'string' || server instanceof URL ? serverAt(server) : server
    this.#session = new Session(storage, session)
    this.#tab = new Tab(locks)
    this.#outbox = new Outbox({
      storage,
      tab: this.#tab,
      onInherit: (inherited) => this.#inherit(inherited),
      onYield: (entry) => this.#giveUp(entry),
      onUnkept: () => this.#emitter.emit('unkept', undefined),
    })
    this.#memberships = new Memberships(rooms, (frame) => this.#sendIfWelcome(frame))
    this.#connection = new Connection({
      isOnline: options.isOnline ?? isOnline,
      random: options.random ?? Math.random,
      open: this.#server.open,
      ...(this.#server.diagnose && { diagnose: this.#server.diagnose }),
      hello: () => this.#hello(),
      onFrame: (frame) => this.#receive(frame),
      onLink: (link) => this.#onLink(link),
    })
    this.#courier = new Courier({
      outbox: this.#outbox,
      canPublish: () => this.link.state === 'live',
      publish: ({ id, room, body }) => this.#connection.send({ type: 'publish', id, room, body }),
      onFailure: (failure) => this.#fail(failure),
      onHold: (hold) => this.#emitter.emit('hold', hold),
    })
  }

  /** Calls back at every event of this name, until the returned function is called. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (value: ClientEvents[Name]) => void): () => void {
    return this.#emitter.on(name, listener)
  }

  get link(): Link {
    return this.#connection.link
  }

  get name(): string {
    return this.#name
  }

  /** Who the server says this is. */
  get user(): User | undefined {
    return this.#user
  }

  get limits(): Limits {
    return this.#limits
  }

  /** The highest `seq` received. */
  get cursor(): number | undefined {
    return this.#cursor
  }

  get rooms(): readonly string[] {
    return this.#memberships.rooms
  }

  get hold(): Hold | undefined {
    return this.#courier.hold
  }

  /** One's own messages that are not confirmed, in the order of writing. */
  get unsent(): readonly Entry[] {
    return this.#outbox.entries
  }

  get isOutboxFull(): boolean {
    return this.#outbox.isFull
  }

  /** Connects, and stays connected until it is closed. Ends a wait for the next attempt, and tries again where the server wanted no more. */
  connect() {
    if (this.#isClosed) return
    if (!this.#unfollow) {
      this.#unfollow = followBrowser(this)
      this.#outbox.inherit()
    }
    this.#connection.start()
  }

  /** Closes the connection for good. Unsent messages stay in the storage. */
  close() {
    this.#isClosed = true
    this.#unfollow?.()
    this.#promises.rejectAll('closed', CLOSED)
    this.#courier.close()
    this.#connection.close()
    this.#memberships.close()
    this.#outbox.close()
    this.#tab.close()
  }

  /** The network or the page came back. Browsers say so by themselves. */
  wake() {
    this.#connection.wake()
  }

  /** The network went away. Browsers say so by themselves. */
  sleep() {
    this.#connection.sleep()
  }

  rename(name: string) {
    this.#name = wellFormed(name)
    if (this.link.state !== 'idle') this.#connection.restart()
  }

  /** Throws a `RoomError` for what is no room, and beyond as many rooms as the server allows. */
  join(room: string) {
    this.#memberships.join(room)
  }

  /** Whether the server sends the messages of this room. */
  isIn(room: string): boolean {
    return this.#memberships.has(room)
  }

  /** Leaves a room, and what was unsent in it. */
  leave(room: string) {
    this.#memberships.leave(room)
    this.#forget(this.unsent.filter((entry) => entry.room === room), 'left', 'The room was left.')
    if (this.link.state === 'refused') this.#connection.restart()
  }

  /** Sends a message as soon as that is possible. Returns its id. Throws a `PublishError` where nothing can be queued. */
  send(room: string, body: string): string {
    const text = wellFormed(body)
    const fault = bodyFault(text, this.#limits)
    if (fault) throw new PublishError(fault.code, fault.detail)
    if (this.#isClosed) throw new PublishError('closed', CLOSED)
    if (this.#outbox.isFull) throw new PublishError('outbox_full', 'Too many messages are unsent.')
    this.#typedAt = -Infinity
    const { id } = this.#outbox.add(room, text)
    this.#flush([room])
    return id
  }

  /** Sends a message and promises the receipt. Fails with a `PublishError`. */
  async publish(room: string, body: string): Promise<Receipt> {
    const receipt = this.#promises.create(this.send(room, body))
    this.#rejectIfStopped()
    return receipt
  }

  /** Sends a failed message again. */
  retry(id: string) {
    const entry = this.#outbox.get(id)
    if (!entry?.fault) return
    this.#courier.retry(entry)
    this.#emitter.emit('outbox', [entry.room])
  }

  /** Forgets a message that was not sent. */
  discard(id: string) {
    this.#forget(this.unsent.filter((entry) => entry.id === id), 'discarded', 'The message was discarded.')
  }

  /** The person is typing. It may be called at every key. */
  typing(room: string) {
    const now = performance.now()
    if (now - this.#typedAt < TYPING_INTERVAL_MS) return
    this.#typedAt = now
    this.#sendIfWelcome({ type: 'typing', room })
  }

  /**
   * Loads a page of a room's history, the newest by default. Own messages in it count as confirmed.
   *
   * The instance that answers may be behind the one that this client is connected to: then it is asked again, for some seconds.
   */
  async history(room: string, range?: Range): Promise<Page> {
    const { before = Infinity } = range ?? {}
    const cursor = this.#cursor ?? 0
    // a reset may set the cursor lower meanwhile
    const due = () => Math.min(before - 1, cursor, this.#cursor ?? 0)
    const page = await completeHistory(() => this.#server.history(room, range), due)
    for (const message of page.messages) this.#reportSent(this.#confirm(message))
    return page
  }

  #hello(): ClientFrame {
    const hello = {
      type: 'hello' as const,
      name: this.#name,
      session: this.#session.secret,
      rooms: this.#memberships.announceAll(),
    }
    return this.#cursor === undefined ? hello : { ...hello, resume: { seq: this.#cursor } }
  }

  #onLink(link: Link) {
    if (link.state === 'live') this.#courier.flush()
    else this.#courier.interrupt()
    this.#rejectIfStopped()
    this.#emitter.emit('link', link)
  }

  /** A stopped client sends nothing by itself: the promises fail, and the unsent messages stay. */
  #rejectIfStopped() {
    const { link } = this
    if (link.state === 'stopped') this.#promises.rejectAll('stopped', closeText(link.code))
    if (link.state === 'refused') this.#promises.rejectAll('stopped', refusalText(link.refusal))
  }

  #receive(frame: ServerFrame) {
    switch (frame.type) {
      case 'welcome':
        return this.#welcome(frame)
      case 'live':
        return this.#advance(frame.seq)
      case 'heartbeat':
        this.#advance(frame.seq)
        return this.#emitter.emit('heartbeat', frame)
      case 'message':
        return this.#receiveMessage(frame)
      case 'ack':
        return this.#acknowledge(frame)
      case 'joined':
        this.#memberships.confirm(frame.room)
        this.#advance(frame.seq)
        return this.#emitter.emit('joined', frame)
      case 'left':
        this.#memberships.revoke(frame.room)
        this.#advance(frame.seq)
        return this.#emitter.emit('left', frame)
      case 'typing':
        return this.#emitter.emit('typing', frame)
      case 'count':
        return this.#emitter.emit('count', frame)
      case 'status':
        return this.#emitter.emit('relay', frame.relay)
      case 'reset':
        return this.#reset(frame.seq, frame.reason)
      case 'error':
        return this.#refuse(frame)
    }
  }

  #welcome(welcome: Welcome) {
    this.#user = welcome.user
    this.#limits = welcome.limits
    this.#memberships.limit = welcome.limits.rooms
    if (welcome.session !== undefined) this.#session.secret = welcome.session
    this.#cursor ??= welcome.seq
    this.#courier.dedupeMs = this.#recent.windowMs = welcome.dedupe_ms
    this.#memberships.sync()
    this.#emitter.emit('welcome', welcome)
  }

  #advance(seq: number) {
    this.#cursor = Math.max(this.#cursor ?? 0, seq)
  }

  #receiveMessage(message: Message) {
    this.#advance(message.seq)
    const receipt = this.#confirm(message)
    if (this.#recent.take(message)) this.#emitter.emit('message', message)
    this.#reportSent(receipt)
  }

  #acknowledge(ack: Ack) {
    this.#reportSent(this.#courier.confirm(ack.id, ack.seq, ack))
    this.#emitter.emit('ack', ack)
  }

  /** The receipt of one's own message that was waiting for it. */
  #confirm({ from, id, seq }: Message): Receipt | undefined {
    return from.id === this.#user?.id ? this.#courier.confirm(id, seq) : undefined
  }

  #reportSent(receipt: Receipt | undefined) {
    if (!receipt) return
    this.#promises.resolve(receipt)
    this.#emitter.emit('sent', receipt)
    this.#emitter.emit('outbox', [receipt.room])
  }

  #fail(failure: Failure) {
    this.#promises.reject(failure.id, failure.code, failure.fault)
    this.#emitter.emit('failed', failure)
    this.#emitter.emit('outbox', [failure.room])
  }

  #reset(seq: number, reason: ResetReason) {
    const from = this.#cursor
    this.#cursor = seq
    this.#emitter.emit('reset', { seq, reason, from })
  }

  #refuse(refusal: Refusal) {
    const { code, id, retry_after_ms } = refusal
    // or it is about a message that was discarded meanwhile
    if (this.#courier.refuse(refusal) || id !== undefined) return
    if (code === 'rate_limited') this.#memberships.resyncAfter(retry_after_ms ?? RESYNC_AFTER_MS)
    if (code === 'rate_limited' || code === 'draining') return
    if (code === 'invalid_session' && this.#session.renew()) this.#connection.restart()
    else if (this.link.state === 'connecting') this.#connection.refuse(refusal)
    else this.#emitter.emit('refused', refusal)
  }

  /** The rooms of what another tab left unsent are joined, so that it can be sent and seen. */
  #inherit(rooms: readonly string[]) {
    for (const room of rooms) {
      try {
        this.#memberships.join(room)
      } catch (error) {
        if (!(error instanceof RoomError)) throw error
        this.#emitter.emit('refused', { code: error.code, detail: error.message })
      }
    }
    this.#flush(rooms)
  }

  #giveUp({ id, room }: Entry) {
    this.#promises.reject(id, 'taken_over', 'Another tab sends this message.')
    this.#emitter.emit('outbox', [room])
  }

  #forget(entries: readonly Entry[], code: 'left' | 'discarded', detail: string) {
    for (const { id } of entries) this.#promises.reject(id, code, detail)
    this.#courier.forget(entries)
    this.#emitter.emit('outbox', [...new Set(entries.map(({ room }) => room))])
  }

  #flush(rooms: readonly string[]) {
    this.#courier.flush()
    this.#emitter.emit('outbox', rooms)
  }

  #sendIfWelcome(frame: ClientFrame): boolean {
    const { state } = this.link
    const isWelcome = state === 'live' || state === 'replaying'
    if (isWelcome) this.#connection.send(frame)
    return isWelcome
  }
}
