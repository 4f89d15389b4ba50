import { Archive } from './archive.ts'
import { Client, type ClientOptions } from './client.ts'
import type { Link } from './connection.ts'
import type { Receipt } from './courier.ts'
import { ackHops } from './hops.ts'
import { RoomError } from './memberships.ts'
import { Profile } from './profile.ts'
import { LIMITS, refusalText, type Ack, type Count, type Message, type RelayState, type User, type Welcome } from './protocol.ts'
import { Room, type RoomView } from './room.ts'
import type { Snapshot } from './snapshot.ts'
import type { Storage } from './storage.ts'

export type ChatOptions = Omit<ClientOptions, 'name' | 'rooms'> & { storage: Storage }

const TYPING_MS = 5000
const UNKEPT = 'Browser storage is full. Unsent messages will be lost if you close this tab.'

/** What a person sees of a client: the rooms, what is said in them, and what is still to be sent. */
export class Chat {
  #server: Snapshot['server']
  #relay: RelayState = 'live'
  #count: Count | undefined
  #outageSince: number | undefined
  #problem: string | undefined
  #active: Room | undefined
  #isReading = false
  #snapshot: Snapshot | undefined
  readonly #rooms = new Map<string, Room>()
  readonly #views = new WeakMap<Room, RoomView>()
  readonly #listeners = new Set<() => void>()
  readonly #unwatch: () => void
  readonly #client: Client
  readonly #archive: Archive
  readonly #profile: Profile

  constructor(options: ChatOptions) {
    this.#profile = new Profile(options.storage)
    for (const name of this.#profile.rooms.slice(0, LIMITS.rooms)) this.#rooms.set(name, this.#makeRoom(name))
    this.#client = new Client({ ...options, name: this.#profile.name ?? '', rooms: this.#rooms.keys() })
    this.#archive = new Archive({
      history: (room, range) => this.#client.history(room, range),
      onChange: (room) => this.#showLoading(room),
    })
    this.#subscribeTo(this.#client)
    this.#unwatch = this.#profile.watch(
      () => this.#followName(),
      (room) => this.#followRoom(room),
    )
  }

  /** Closes the connection for good. Unsent messages stay in the storage. */
  close() {
    this.#unwatch()
    this.#profile.flush()
    this.#client.close()
  }

  /** Calls back after every change, until the returned function is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  snapshot(): Snapshot {
    const { name, user, link, limits, cursor, hold, isOutboxFull } = this.#client
    this.#snapshot ??= {
      name: name === '' ? undefined : name,
      me: user,
      link,
      outageSince: this.#outageSince,
      relay: this.#relay,
      count: this.#count,
      server: this.#server,
      limits,
      cursor,
      rooms: [...this.#rooms.values()].map((room) => this.#view(room)),
      active: this.#active && this.#view(this.#active),
      hold,
      isOutboxFull,
      problem: this.#problem,
    }
    return this.#snapshot
  }

  /** Ends the wait for the next attempt. */
  retryNow() {
    this.#client.connect()
  }

  rename(name: string) {
    this.#profile.name = name.trim()
    this.#problem = undefined
    this.#useName(name.trim())
  }

  /** Shows a room and joins it if need be. Says whether that can be. */
  enter(name: string): boolean {
    const room = this.#rooms.get(name) ?? this.#join(name)
    if (!room) return false
    this.#active = room
    this.#isReading = false
    room.divider = undefined
    room.divide(this.#client.user)
    this.#changed(room)
    this.#connect()
    // the others may take long
    if (this.#isReceiving(room)) this.#load([room])
    return true
  }

  leave(name: string) {
    this.#profile.leave(name)
    this.#removeRoom(name)
  }

  /** Whether the person has the end of the active room in view. */
  setReading(isReading: boolean) {
    if (this.#isReading === isReading) return
    this.#isReading = isReading
    if (!this.#active || !isReading) return
    this.#markRead(this.#active)
    this.#changed(this.#active)
  }

  get isOutboxFull(): boolean {
    return this.#client.isOutboxFull
  }

  send(room: string, body: string) {
    this.#client.send(room, body)
  }

  retry(id: string) {
    this.#client.retry(id)
  }

  discard(id: string) {
    this.#client.discard(id)
  }

  typing(room: string) {
    this.#client.typing(room)
  }

  async loadOlder(name: string) {
    const room = this.#rooms.get(name)
    if (!room || (room.history === 'unloaded' && !this.#isReceiving(room))) return
    await this.#archive.loadOlder(room)
  }

  dismissGap(name: string) {
    const room = this.#rooms.get(name)
    if (!room) return
    room.hasGap = false
    this.#changed(room)
  }

  /** Shows the person what went wrong. */
  report(problem: string) {
    this.#problem = problem
    this.#changed()
  }

  dismissProblem() {
    this.#problem = undefined
    this.#changed()
  }

  #subscribeTo(client: Client) {
    client.on('link', (link) => this.#showLink(link))
    client.on('welcome', (welcome) => this.#welcome(welcome))
    client.on('message', (message) => this.#receive(message))
    client.on('sent', (receipt) => this.#placeOwn(receipt))
    client.on('ack', (ack) => this.#trace(ack))
    client.on('outbox', (rooms) => this.#showUnsent(rooms))
    client.on('hold', () => this.#changed())
    client.on('heartbeat', () => this.#changed())
    client.on('joined', () => this.#loadDue())
    client.on('typing', ({ room, from }) => this.#showTyping(room, from))
    client.on('reset', ({ from, seq }) => this.#reset(Math.min(from ?? seq, seq)))
    client.on('refused', (refusal) => this.report(refusalText(refusal)))
    client.on('unkept', () => this.report(UNKEPT))
    client.on('relay', (relay) => {
      this.#relay = relay
      this.#changed()
    })
    client.on('count', (count) => {
      this.#count = count
      this.#changed()
    })
  }

  /** Connects for the first time, once the person has a name and is in a room. */
  #connect() {
    const isDue = this.#client.link.state === 'idle' && this.#client.name !== '' && this.#rooms.size > 0
    if (isDue) this.#client.connect()
  }

  #showLink({ state }: Link) {
    if (state === 'live') {
      this.#outageSince = undefined
      this.#loadDue()
    } else {
      this.#outageSince ??= performance.now()
    }
    this.#changed()
  }

  #welcome({ count, relay, instance, connection, version }: Welcome) {
    this.#count = count
    this.#relay = relay
    this.#server = { instance, connection, version }
    this.#changed(...this.#rooms.values())
  }

  #receive(message: Message) {
    const room = this.#rooms.get(message.room)
    if (!room) return
    const isNew = room.append(message)
    if (message.from.id === this.#client.user?.id) room.timeline.trace(message.seq, { shownAt: Date.now() })
    this.#changed(room)
    if (!isNew) return
    if (room === this.#active) {
      if (this.#isReading) this.#markRead(room)
      else room.divide(this.#client.user)
    }
    room.trim(room !== this.#active ? 'elsewhere' : this.#isReading ? 'end' : 'further up')
  }

  /** Puts one's own message in its place as soon as that is known. */
  #placeOwn({ id, room: name, body, seq, ack, sentAt }: Receipt) {
    const room = this.#rooms.get(name)
    const { user } = this.#client
    if (!room || !user) return
    if (ack) room.append({ seq, room: name, id, from: user, body, at: ack.accepted_at })
    if (sentAt !== undefined) room.timeline.trace(seq, { sentAt })
    this.#changed(room)
  }

  #trace(ack: Ack) {
    this.#changed([...this.#rooms.values()].find(({ timeline }) => timeline.trace(ack.seq, ackHops(ack))))
  }

  /** Messages above this seq cannot be replayed. */
  #reset(seq: number) {
    for (const room of this.#rooms.values()) room.markStale(seq)
    this.#changed(...this.#rooms.values())
    this.#loadDue()
  }

  /** Whether every new message of a room is received. History that is loaded earlier would leave a hole. */
  #isReceiving({ name }: Room): boolean {
    return this.#client.link.state === 'live' && this.#client.isIn(name)
  }

  /** Loads what is not loaded yet of the rooms whose new messages come, first of all the room in view. */
  #loadDue() {
    const rooms = [...this.#rooms.values()].filter((room) => this.#isReceiving(room))
    this.#load(rooms.toSorted((a, b) => Number(b === this.#active) - Number(a === this.#active)))
  }

  /** Unread are the messages since the room's messages are received here. Earlier ones are not new to the person. */
  #load(rooms: readonly Room[]) {
    for (const room of rooms.filter(({ readSeq }) => readSeq === undefined)) {
      room.readTo(this.#client.cursor)
      this.#profile.read(room.name, room.readSeq)
    }
    void this.#archive.loadDue(rooms)
  }

  #showLoading(room: Room) {
    if (room === this.#active && room.history !== 'loading') {
      room.divide(this.#client.user)
      if (this.#isReading) this.#markRead(room)
    }
    this.#changed(room)
  }

  /** The client may have joined rooms for what another tab left unsent in them. */
  #showUnsent(rooms: readonly string[]) {
    const joined = rooms.filter((room) => this.#client.rooms.includes(room))
    this.#changed(...joined.map((room) => this.#rooms.get(room) ?? this.#join(room)))
  }

  #markRead(room: Room) {
    room.markRead(this.#client.user)
    this.#profile.read(room.name, room.readSeq)
  }

  #showTyping(name: string, users: readonly User[]) {
    const room = this.#rooms.get(name)
    if (!room) return
    const forget = room.addTypists(users)
    this.#changed(room)
    setTimeout(() => {
      if (forget()) this.#changed(room)
    }, TYPING_MS)
  }

  #join(name: string): Room | undefined {
    try {
      this.#client.join(name)
    } catch (error) {
      if (!(error instanceof RoomError)) throw error
      this.report(error.message)
      return undefined
    }
    this.#profile.join(name)
    const room = this.#makeRoom(name)
    this.#rooms.set(name, room)
    return room
  }

  #makeRoom(name: string): Room {
    return new Room(name, this.#profile.room(name)?.readSeq)
  }

  #removeRoom(name: string) {
    const room = this.#rooms.get(name)
    if (!room) return
    this.#rooms.delete(name)
    if (this.#active === room) this.#active = undefined
    this.#client.leave(name)
    this.#changed()
  }

  /** Another tab has another name: so has this one. */
  #followName() {
    const { name } = this.#profile
    if (name !== undefined && name !== this.#client.name) this.#useName(name)
  }

  #useName(name: string) {
    this.#client.rename(name)
    this.#changed()
    this.#connect()
  }

  /** Another tab joined, left or read a room: so does this one. It does not leave what is unsent: nobody here chose to lose that. */
  #followRoom(name: string) {
    const known = this.#profile.room(name)
    if (!known && this.#client.unsent.some(({ room }) => room === name)) return
    if (!known) return this.#removeRoom(name)
    const room = this.#rooms.get(name) ?? this.#join(name)
    if (!room) return
    room.readTo(known.readSeq)
    // the other tab may have stored less than this one read: neither can know what the other is about to write
    if (room.readSeq !== known.readSeq) this.#profile.read(name, room.readSeq)
    this.#changed(room)
  }

  #view(room: Room): RoomView {
    const known = this.#views.get(room)
    if (known) return known
    const outgoing = this.#client.unsent.filter((entry) => entry.room === room.name)
    const view = room.view(outgoing, this.#client.user)
    this.#views.set(room, view)
    return view
  }

  #changed(...rooms: (Room | undefined)[]) {
    for (const room of rooms) if (room) this.#views.delete(room)
    this.#snapshot = undefined
    for (const listener of this.#listeners) listener()
  }
}
