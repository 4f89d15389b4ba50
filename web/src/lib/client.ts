import { Connection, type Link, type Socket } from './connection'
import { Courier } from './courier'
import type { History } from './history'
import { ackHops } from './hops'
import { Outbox } from './outbox'
import { Profile } from './profile'
import {
  DEFAULT_LIMITS,
  type Ack,
  type ClientFrame,
  type Count,
  type Message,
  type Refusal,
  type Relay,
  type ServerFrame,
  type User,
  type Welcome,
} from './protocol'
import { Room, type RoomView } from './room'
import type { Snapshot } from './snapshot'
import type { Storage } from './storage'

export type ClientOptions = {
  socket: () => Socket
  history: History
  storage: Storage
  isOnline?: () => boolean
  random?: () => number
}

const TYPING_INTERVAL_MS = 2000
/** How many pages of history are loaded to close the gap that a reset leaves. */
const GAP_PAGES = 4

/** A chat: the rooms, what is said in them, and what is still to be sent. */
export class Client {
  #me: User | undefined
  #server: Snapshot['server']
  #limits = DEFAULT_LIMITS
  #relay: Relay = 'live'
  #count: Count | undefined
  #cursor: number | undefined
  #outageSince: number | undefined
  #problem: string | undefined
  /** The rooms of the last hello. */
  #named: readonly string[] = []
  #active: Room | undefined
  #isReading = false
  #typedAt = 0
  #snapshot: Snapshot | undefined
  readonly #rooms = new Map<string, Room>()
  readonly #views = new Map<Room, RoomView>()
  readonly #listeners = new Set<() => void>()
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #courier: Courier
  readonly #history: History
  readonly #profile: Profile

  constructor({ socket, history, storage, ...network }: ClientOptions) {
    this.#history = history
    this.#profile = new Profile(storage)
    this.#outbox = new Outbox(storage)
    for (const { name, readSeq } of this.#profile.rooms) this.#rooms.set(name, new Room(name, readSeq))
    this.#connection = new Connection({
      ...network,
      open: socket,
      hello: () => this.#hello(),
      onFrame: (frame) => this.#receive(frame),
      onLink: (link) => this.#follow(link),
    })
    this.#courier = new Courier({
      outbox: this.#outbox,
      canPublish: () => this.#connection.link.state === 'live',
      publish: ({ id, room, body }) => this.#connection.send({ type: 'publish', id, room, body }),
      onChange: (room) => this.#touch(this.#rooms.get(room ?? '')),
    })
  }

  /** Calls back after every change, until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  snapshot(): Snapshot {
    this.#snapshot ??= {
      name: this.#profile.name,
      me: this.#me,
      link: this.#connection.link,
      outageSince: this.#outageSince,
      relay: this.#relay,
      count: this.#count,
      server: this.#server,
      limits: this.#limits,
      cursor: this.#cursor,
      rooms: [...this.#rooms.values()].map((room) => this.#view(room)),
      active: this.#active && this.#view(this.#active),
      hold: this.#courier.hold,
      problem: this.#problem,
    }
    return this.#snapshot
  }

  /** Ends the wait for the next attempt. */
  retryNow() {
    this.#connection.start()
  }

  wake() {
    this.#connection.wake()
  }

  sleep() {
    this.#connection.sleep()
  }

  rename(name: string) {
    this.#profile.name = name.trim()
    this.#problem = undefined
    this.#touch()
    if (this.#connection.link.state === 'idle') this.#connect()
    else this.#connection.restart()
  }

  /** Shows a room and joins it if need be. Says whether that can be. */
  enter(name: string): boolean {
    const known = this.#rooms.get(name)
    if (!known && this.#rooms.size >= this.#limits.rooms) {
      this.report(`You can be in ${this.#limits.rooms} rooms at a time. Leave one to join “${name}”.`)
      return false
    }
    const room = known ?? new Room(name)
    this.#rooms.set(name, room)
    this.#active = room
    this.#isReading = false
    room.divider = undefined
    room.divide(this.#me)
    this.#saveRooms()
    this.#touch(room)
    if (!known) this.#say({ type: 'join', room: name })
    this.#connect()
    return true
  }

  leave(name: string) {
    const room = this.#rooms.get(name)
    if (!room) return
    this.#rooms.delete(name)
    this.#views.delete(room)
    this.#outbox.removeRoom(name)
    if (this.#active === room) this.#active = undefined
    this.#saveRooms()
    this.#say({ type: 'leave', room: name })
    this.#touch()
  }

  /** Whether the person has the end of the active room in view. */
  setReading(isReading: boolean) {
    if (this.#isReading === isReading) return
    this.#isReading = isReading
    if (!this.#active || !isReading) return
    this.#read(this.#active)
    this.#touch(this.#active)
  }

  get isOutboxFull(): boolean {
    return this.#outbox.isFull
  }

  send(room: string, body: string) {
    this.#typedAt = 0
    this.#courier.send(room, body)
  }

  retry(id: string) {
    this.#courier.retry(id)
  }

  discard(id: string) {
    this.#courier.discard(id)
  }

  typing(room: string) {
    const now = Date.now()
    if (now - this.#typedAt < TYPING_INTERVAL_MS) return
    this.#typedAt = now
    this.#say({ type: 'typing', room })
  }

  async loadOlder(name: string) {
    const room = this.#rooms.get(name)
    const oldest = room?.timeline.oldest
    if (!room || room.history === 'loading') return
    if (!oldest || room.staleAbove !== undefined) return this.#load(room)
    await this.#loading(room, async () => {
      const page = await this.#history(name, oldest.seq)
      this.#merge(room, page.messages)
      room.hasOlder = page.next !== null
    })
  }

  dismissGap(name: string) {
    const room = this.#rooms.get(name)
    if (!room) return
    room.hasGap = false
    this.#touch(room)
  }

  /** Shows the person what went wrong. */
  report(problem: string) {
    this.#problem = problem
    this.#touch()
  }

  dismissProblem() {
    this.#problem = undefined
    this.#touch()
  }

  /** Connects for the first time, once the person has a name and is in a room. */
  #connect() {
    const isDue = this.#connection.link.state === 'idle' && this.#profile.name !== undefined && this.#rooms.size > 0
    if (isDue) this.#connection.start()
  }

  #hello(): ClientFrame {
    this.#named = [...this.#rooms.keys()]
    const { name = '', session } = this.#profile
    const hello = { type: 'hello' as const, name, session, rooms: [...this.#named] }
    return this.#cursor === undefined ? hello : { ...hello, resume: { seq: this.#cursor } }
  }

  #follow(link: Link) {
    if (link.state === 'live') {
      this.#outageSince = undefined
      this.#courier.flush()
      void this.#loadDue()
    } else {
      this.#courier.interrupt()
      this.#outageSince ??= Date.now()
    }
    this.#touch()
  }

  #receive(frame: ServerFrame) {
    switch (frame.type) {
      case 'welcome':
        return this.#welcome(frame)
      case 'live':
      case 'heartbeat':
        return this.#advance(frame.seq)
      case 'message':
        return this.#take(frame)
      case 'ack':
        return this.#settle(frame)
      case 'count':
        this.#count = frame
        return this.#touch()
      case 'typing':
        return this.#showTyping(frame.room, frame.from)
      case 'joined':
        return void this.#loadDue()
      case 'status':
        this.#relay = frame.relay
        return this.#touch()
      case 'reset':
        return this.#reset(frame.seq)
      case 'error':
        return this.#refuse(frame)
    }
  }

  #welcome({ user, session, seq, dedupe_ms, limits, count, relay, instance, connection, version }: Welcome) {
    this.#me = user
    if (session !== undefined) this.#profile.session = session
    this.#cursor ??= seq
    this.#courier.dedupeMs = dedupe_ms
    this.#limits = limits
    this.#count = count
    this.#relay = relay
    this.#server = { instance, connection, version }
    this.#correctRooms()
    this.#touch(...this.#rooms.values())
  }

  /** Joins and leaves what the person did between hello and welcome. */
  #correctRooms() {
    for (const room of this.#named) if (!this.#rooms.has(room)) this.#say({ type: 'leave', room })
    for (const room of this.#rooms.keys()) if (!this.#named.includes(room)) this.#say({ type: 'join', room })
  }

  #advance(seq: number) {
    this.#cursor = Math.max(this.#cursor ?? 0, seq)
    this.#touch()
  }

  #take(frame: Message) {
    this.#advance(frame.seq)
    const room = this.#rooms.get(frame.room)
    if (!room) return
    room.removeTypist(frame.from.id)
    const isOwn = frame.from.id === this.#me?.id
    const isNew = this.#confirm(room, frame)
    if (isOwn) room.timeline.trace(frame.seq, { shownAt: Date.now() })
    if (!isNew) return
    if (room === this.#active) {
      if (this.#isReading) this.#read(room)
      else room.divide(this.#me)
    }
    room.trim(room !== this.#active ? 'elsewhere' : this.#isReading ? 'end' : 'further up')
  }

  #settle(ack: Ack) {
    const { id, seq, accepted_at } = ack
    const entry = this.#outbox.get(id)
    const room = this.#rooms.get(entry?.room ?? '')
    if (entry && room && this.#me) {
      this.#confirm(room, { seq, room: room.name, id, from: this.#me, body: entry.body, at: accepted_at })
    }
    const place = [...this.#rooms.values()].find(({ timeline }) => timeline.trace(seq, ackHops(ack)))
    this.#touch(place)
  }

  /** Puts a message into its place; if it is one's own, it waits no more. Says whether it was new. */
  #confirm(room: Room, message: Message): boolean {
    const entry = message.from.id === this.#me?.id ? this.#outbox.get(message.id) : undefined
    if (entry) this.#courier.confirm(entry.id)
    const isNew = room.append(message)
    if (entry?.sentAt !== undefined) room.timeline.trace(message.seq, { sentAt: entry.sentAt })
    this.#touch(room)
    return isNew
  }

  #refuse(refusal: Refusal) {
    const { code, detail } = refusal
    if (this.#courier.refuse(refusal) || code === 'draining' || code === 'rate_limited') return
    if (code === 'invalid_session') {
      this.#profile.renewSession()
      this.#connection.restart()
    } else {
      this.report(detail)
    }
  }

  #reset(seq: number) {
    this.#cursor = seq
    for (const room of this.#rooms.values()) room.markStale()
    this.#touch(...this.#rooms.values())
    if (this.#connection.link.state === 'live') void this.#loadDue()
  }

  /** Loads what is not loaded yet, first of all the room in view. */
  async #loadDue() {
    const rooms = [...this.#rooms.values()].toSorted((a, b) => Number(b === this.#active) - Number(a === this.#active))
    for (const room of rooms) {
      if (room.needsHistory && room.history !== 'loading') await this.#load(room)
    }
  }

  async #load(room: Room) {
    const { staleAbove } = room
    await this.#loading(room, async () => {
      let page = await this.#history(room.name)
      this.#merge(room, page.messages)
      if (staleAbove !== undefined) page = await this.#closeGap(room, staleAbove, page)
      if (room.staleAbove === staleAbove) room.staleAbove = undefined
      room.hasOlder = page.next !== null
      room.readSeq ??= room.timeline.newest?.seq ?? 0
    })
  }

  /** Loads back to what was there before the reset. Where that is too far, only what is newer than the gap stays. */
  async #closeGap(room: Room, staleAbove: number, newest: Awaited<ReturnType<History>>) {
    let page = newest
    for (let pages = 1; page.next !== null; pages += 1) {
      const oldest = page.messages[0]
      if (!oldest || oldest.seq <= staleAbove) break
      if (pages === GAP_PAGES) {
        room.timeline.dropBefore(oldest.seq)
        break
      }
      page = await this.#history(room.name, oldest.seq)
      this.#merge(room, page.messages)
    }
    return page
  }

  async #loading(room: Room, load: () => Promise<void>) {
    room.history = 'loading'
    this.#touch(room)
    try {
      await load()
      room.history = 'loaded'
    } catch {
      room.history = 'failed'
    }
    if (room === this.#active) room.divide(this.#me)
    if (room === this.#active && this.#isReading) this.#read(room)
    this.#touch(room)
  }

  #merge(room: Room, page: readonly Message[]) {
    for (const message of page) if (message.from.id === this.#me?.id) this.#courier.confirm(message.id)
    room.merge(page)
  }

  #read(room: Room) {
    room.markRead()
    this.#saveRooms()
  }

  #showTyping(name: string, users: readonly User[]) {
    const room = this.#rooms.get(name)
    if (!room) return
    const now = Date.now()
    room.addTypists(users, now)
    this.#touch(room)
    setTimeout(() => {
      if (room.expireTypists(Date.now())) this.#touch(room)
    }, 5000)
  }

  #say(frame: ClientFrame) {
    const { state } = this.#connection.link
    if (state === 'live' || state === 'replaying') this.#connection.send(frame)
  }

  #saveRooms() {
    this.#profile.rooms = [...this.#rooms.values()].map(({ name, readSeq }) => ({ name, readSeq }))
  }

  #view(room: Room): RoomView {
    const known = this.#views.get(room)
    if (known) return known
    const outgoing = this.#outbox.entries.filter((entry) => entry.room === room.name)
    const view = room.view(outgoing, this.#me)
    this.#views.set(room, view)
    return view
  }

  #touch(...rooms: (Room | undefined)[]) {
    for (const room of rooms) if (room) this.#views.delete(room)
    this.#snapshot = undefined
    for (const listener of this.#listeners) listener()
  }
}
