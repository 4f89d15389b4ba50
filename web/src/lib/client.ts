import { Connection, type Link } from './connection.ts'
import { Courier, PublishError, type Failure, type Hold, type Receipt } from './courier.ts'
import { Emitter } from './emitter.ts'
import type { ClientEvents } from './events.ts'
import type { Page, Range } from './history.ts'
import { Memberships } from './memberships.ts'
import { Outbox, type Entry } from './outbox.ts'
import {
  DEFAULT_ROOM,
  LIMITS,
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
import { followBrowser, isOnline } from './wake.ts'

export type ClientOptions = {
  /** Its address, `http:` or `https:`; or what `serverAt` makes of one. */
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
const TELL_AGAIN_MS = 1000

type Waiting = { resolve: (receipt: Receipt) => void; reject: (error: PublishError) => void }

/** A member of rooms, over any number of connections: what is published gets there once, and every message comes once. */
export class Client {
  #name: string
  #user: User | undefined
  #limits = LIMITS
  #cursor: number | undefined
  #typedAt = 0
  #unfollow: (() => void) | undefined
  readonly #waiting = new Map<string, Waiting>()
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
    this.#name = name
    this.#server = typeof server === 'string' || server instanceof URL ? serverAt(server) : server
    this.#session = new Session(storage)
    if (session !== undefined) this.#session.secret = session
    this.#tab = new Tab(locks)
    this.#outbox = new Outbox(storage, this.#tab)
    this.#memberships = new Memberships(rooms, (frame) => this.#say(frame))
    this.#connection = new Connection({
      isOnline: options.isOnline ?? isOnline,
      random: options.random ?? Math.random,
      open: this.#server.open,
      hello: () => this.#hello(),
      onFrame: (frame) => this.#receive(frame),
      onLink: (link) => this.#follow(link),
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

  /** The last `seq` that was heard of. */
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

  /** Connects, and stays connected until it is closed. Ends a wait for the next attempt. */
  connect() {
    if (!this.#unfollow) {
      this.#unfollow = followBrowser(this)
      this.#outbox.inherit((rooms) => this.#inherit(rooms))
    }
    this.#connection.start()
  }

  /** Says goodbye, for good. What is unsent stays in the storage. */
  close() {
    this.#unfollow?.()
    this.#courier.close()
    this.#connection.close()
    this.#outbox.close()
    this.#tab.close()
    for (const { reject } of this.#waiting.values()) reject(new PublishError('closed', 'The client was closed.'))
    this.#waiting.clear()
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
    this.#name = name
    if (this.link.state !== 'idle') this.#connection.restart()
  }

  join(room: string) {
    this.#memberships.join(room)
  }

  /** Leaves a room, and what was unsent in it. */
  leave(room: string) {
    this.#memberships.leave(room)
    this.#outbox.removeRoom(room)
    this.#emitter.emit('outbox', [room])
  }

  /** Sends a message as soon as that is possible. Returns its id. Throws if too much is unsent already. */
  send(room: string, body: string): string {
    if (this.#outbox.isFull) throw new PublishError('outbox_full', 'Too many messages are unsent.')
    this.#typedAt = 0
    const { id } = this.#outbox.add(room, body)
    this.#flush([room])
    return id
  }

  /** Sends a message and promises the receipt. Fails with a `PublishError`. */
  publish(room: string, body: string): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.send(room, body), { resolve, reject })
    })
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
    const entry = this.#outbox.get(id)
    this.#outbox.remove(id)
    if (entry) this.#emitter.emit('outbox', [entry.room])
  }

  /** The person is typing. It may be called at every key. */
  typing(room: string) {
    const now = Date.now()
    if (now - this.#typedAt < TYPING_INTERVAL_MS) return
    this.#typedAt = now
    this.#say({ type: 'typing', room })
  }

  /** What was said in a room, the newest by default. Confirms what it holds of one's own. */
  async history(room: string, range?: Range): Promise<Page> {
    const page = await this.#server.history(room, range)
    for (const message of page.messages) this.#sent(this.#confirm(message))
    return page
  }

  #hello(): ClientFrame {
    const hello = {
      type: 'hello' as const,
      name: this.#name,
      session: this.#session.secret,
      rooms: this.#memberships.introduce(),
    }
    return this.#cursor === undefined ? hello : { ...hello, resume: { seq: this.#cursor } }
  }

  #follow(link: Link) {
    if (link.state === 'live') this.#courier.flush()
    else this.#courier.interrupt()
    this.#emitter.emit('link', link)
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
        return this.#take(frame)
      case 'ack':
        return this.#settle(frame)
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
    if (welcome.session !== undefined) this.#session.secret = welcome.session
    this.#cursor ??= welcome.seq
    this.#courier.dedupeMs = this.#recent.windowMs = welcome.dedupe_ms
    this.#memberships.tell()
    this.#emitter.emit('welcome', welcome)
  }

  #advance(seq: number) {
    this.#cursor = Math.max(this.#cursor ?? 0, seq)
  }

  #take(message: Message) {
    this.#advance(message.seq)
    const receipt = this.#confirm(message)
    if (this.#recent.take(message)) this.#emitter.emit('message', message)
    this.#sent(receipt)
  }

  #settle(ack: Ack) {
    this.#sent(this.#courier.confirm(ack.id, ack.seq, ack))
    this.#emitter.emit('ack', ack)
  }

  /** The receipt of one's own message that was waiting for it. */
  #confirm({ from, id, seq }: Message): Receipt | undefined {
    return from.id === this.#user?.id ? this.#courier.confirm(id, seq) : undefined
  }

  #sent(receipt: Receipt | undefined) {
    if (!receipt) return
    this.#waiting.get(receipt.id)?.resolve(receipt)
    this.#waiting.delete(receipt.id)
    this.#emitter.emit('sent', receipt)
  }

  #fail(failure: Failure) {
    this.#waiting.get(failure.id)?.reject(new PublishError(failure.code, failure.fault))
    this.#waiting.delete(failure.id)
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
    if (this.#courier.refuse(refusal)) return
    if (code === 'rate_limited' && id === undefined) this.#memberships.tellAgainAfter(retry_after_ms ?? TELL_AGAIN_MS)
    else if (code === 'invalid_session') {
      this.#session.renew()
      this.#connection.restart()
    } else if (code !== 'draining' && code !== 'rate_limited') this.#emitter.emit('refused', refusal)
  }

  #inherit(rooms: readonly string[]) {
    for (const room of rooms) this.#memberships.join(room)
    this.#flush(rooms)
  }

  #flush(rooms: readonly string[]) {
    this.#courier.flush()
    this.#emitter.emit('outbox', rooms)
  }

  #say(frame: ClientFrame): boolean {
    const { state } = this.link
    const isWelcome = state === 'live' || state === 'replaying'
    if (isWelcome) this.#connection.send(frame)
    return isWelcome
  }
}
