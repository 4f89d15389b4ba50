import type { Entry, Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import { refusalText, type Ack, type ErrorCode, type Refusal } from './protocol.ts'

/** `until` is a time of `performance.now()`. */
export type Hold = { reason: 'rate_limited' | 'overloaded'; until: number }

/** A message of one's own that has its place in the log. */
export type Receipt = Entry & {
  seq: number
  /** Left out where the message itself came first. */
  ack?: Ack
}

export type FailureCode =
  | ErrorCode
  /** It went out so long ago that the server may have it or not, and would not know it again. */
  | 'uncertain'

/** A message of one's own that will not go out by itself. */
export type Failure = Entry & { code: FailureCode; fault: string }

/** Why a publish came to nothing. */
export class PublishError extends Error {
  override readonly name = 'PublishError'
  readonly code:
    | FailureCode
    | 'outbox_full'
    | 'closed'
    /** The server does not want this client back, or refuses its hello. What is unsent stays in the outbox. */
    | 'stopped'
    /** The room was left, and what was unsent in it. */
    | 'left'
    | 'discarded'
    /** Another tab took it over and sends it. */
    | 'taken_over'

  constructor(code: PublishError['code'], detail: string) {
    super(detail)
    this.code = code
  }
}

type CourierOptions = {
  outbox: Outbox
  canPublish: () => boolean
  publish: (entry: Entry) => void
  onFailure: (failure: Failure) => void
  onHold: (hold: Hold | undefined) => void
}

const HOLD_MS = 1000

/** Gets what is in the outbox to the server: in order, once, and no faster than the server allows. */
export class Courier {
  /** How long the server remembers what it has. */
  dedupeMs = 120_000
  #hold: Hold | undefined
  #resume: ReturnType<typeof setTimeout> | undefined
  #pace = new Pace()
  readonly #inFlight = new Set<string>()
  /** When messages first went out from this page, by a clock that nobody sets. */
  readonly #sentAt = new Map<string, number>()
  readonly #options: CourierOptions

  constructor(options: CourierOptions) {
    this.#options = options
  }

  /** The server does not take messages before this is over. They wait. */
  get hold(): Hold | undefined {
    return this.#hold
  }

  /** Sends a failed message after all. The id stays, so that a client that has it already does not show it twice. */
  retry({ id, room, body }: Entry) {
    this.#sentAt.delete(id)
    this.#options.outbox.put({ id, room, body, at: Date.now() })
    this.flush()
  }

  /** The server has it at this place. Returns the receipt of a message that was waiting for one. */
  confirm(id: string, seq: number, ack?: Ack): Receipt | undefined {
    const entry = this.#options.outbox.get(id)
    if (!entry) return undefined
    this.forget([entry])
    return ack ? { ...entry, seq, ack } : { ...entry, seq }
  }

  /** These are not to be sent any more. */
  forget(entries: readonly Entry[]) {
    for (const { id } of entries) {
      this.#options.outbox.remove(id)
      this.#inFlight.delete(id)
      this.#sentAt.delete(id)
    }
    this.flush()
  }

  /** The server did not take it, for now or for good. Says whether it was one of ours. */
  refuse({ id, code, detail, retry_after_ms: ms = HOLD_MS }: Refusal): boolean {
    const entry = this.#options.outbox.get(id ?? '')
    if (!entry) return false
    // the next instance gets what a draining one refuses
    if (code === 'draining') return true
    this.#inFlight.delete(entry.id)
    if (code === 'rate_limited') this.#pace.space(ms)
    if (code === 'overloaded') this.#pace.slow()
    if (code === 'rate_limited' || code === 'overloaded') this.#wait(code, ms)
    else this.#fail(entry, code, refusalText({ code, detail }))
    this.flush()
    return true
  }

  /** The connection is gone, and with it all answers that were due, and what was refused on it. */
  interrupt() {
    this.#inFlight.clear()
    this.#pace = new Pace()
  }

  close() {
    clearTimeout(this.#resume)
    this.#hold = undefined
  }

  /** Sends what may go out now. What went out before and may have been forgotten by the server since is for the person to decide. */
  flush() {
    for (const { id } of this.#options.outbox.entries) {
      if (!this.#options.canPublish() || this.#hold) return
      // a listener of a failure may change the entries that follow
      const entry = this.#options.outbox.get(id)
      if (!entry || entry.fault !== undefined || this.#inFlight.has(id)) continue
      const age = this.#age(entry)
      if (age >= this.dedupeMs) {
        this.#fail(entry, 'uncertain', 'We couldn’t confirm this was sent. Sending again may duplicate it.')
        continue
      }
      const wait = this.#pace.wait(this.#inFlight.size)
      if (wait !== 0) return this.#flushIn(wait)
      this.#sentAt.set(id, performance.now() - age)
      this.#publish({ ...entry, sentAt: entry.sentAt ?? Date.now() })
    }
  }

  #flushIn(ms: number | undefined) {
    clearTimeout(this.#resume)
    if (ms !== undefined) this.#resume = setTimeout(() => this.flush(), ms)
  }

  /**
   * How long ago a message first went out.
   *
   * In some browsers the clock that nobody sets stands still while the computer sleeps, and with each page it begins anew. The system clock
   * counts both, but people and programs set it. So the longer time counts: a message is rather called uncertain than sent twice.
   */
  #age({ id, sentAt }: Entry): number {
    if (sentAt === undefined) return 0
    const byWall = Date.now() - sentAt
    const since = this.#sentAt.get(id)
    if (since !== undefined) return Math.max(performance.now() - since, byWall)
    // it went out from a page before this one, and the clock was set back
    return byWall < 0 ? Infinity : byWall
  }

  #publish(entry: Entry) {
    this.#pace.take()
    this.#options.outbox.put(entry)
    this.#inFlight.add(entry.id)
    this.#options.publish(entry)
  }

  #fail(entry: Entry, code: FailureCode, fault: string) {
    this.#options.outbox.put({ ...entry, fault })
    this.#options.onFailure({ ...entry, code, fault })
  }

  #wait(reason: Hold['reason'], ms: number) {
    const until = Math.max(this.#hold?.until ?? 0, performance.now() + ms)
    this.#hold = { reason, until }
    clearTimeout(this.#resume)
    this.#resume = setTimeout(() => {
      this.#hold = undefined
      this.flush()
      this.#options.onHold(undefined)
    }, until - performance.now())
    this.#options.onHold(this.#hold)
  }
}
