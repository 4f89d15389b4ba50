import type { Entry, Outbox } from './outbox.ts'
import type { Ack, ErrorCode, Refusal } from './protocol.ts'

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
  readonly code: FailureCode | 'outbox_full' | 'closed'

  constructor(code: PublishError['code'], detail: string) {
    super(detail)
    this.code = code
  }
}

export type CourierOptions = {
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
  readonly #inFlight = new Set<string>()
  readonly #options: CourierOptions

  constructor(options: CourierOptions) {
    this.#options = options
  }

  /** The server does not take messages before this is over. They wait. */
  get hold(): Hold | undefined {
    return this.#hold
  }

  /** Sends a failed message after all. The id stays, so that who has it already does not see it twice. */
  retry({ id, room, body }: Entry) {
    this.#options.outbox.put({ id, room, body, at: Date.now() })
    this.flush()
  }

  /** The server has it at this place. Returns the receipt of a message that was waiting for one. */
  confirm(id: string, seq: number, ack?: Ack): Receipt | undefined {
    this.#inFlight.delete(id)
    const entry = this.#options.outbox.get(id)
    if (!entry) return undefined
    this.#options.outbox.remove(id)
    return ack ? { ...entry, seq, ack } : { ...entry, seq }
  }

  /** The server did not take it, for now or for good. Says whether it was one of ours. */
  refuse({ id, code, detail, retry_after_ms }: Refusal): boolean {
    const entry = this.#options.outbox.get(id ?? '')
    if (!entry) return false
    // the next instance gets what a draining one refuses
    if (code === 'draining') return true
    this.#inFlight.delete(entry.id)
    if (code === 'rate_limited' || code === 'overloaded') this.#wait(code, retry_after_ms ?? HOLD_MS)
    else this.#fail(entry, code, detail)
    return true
  }

  /** The connection is gone, and with it all answers that were due. */
  interrupt() {
    this.#inFlight.clear()
  }

  close() {
    clearTimeout(this.#resume)
    this.#hold = undefined
  }

  /** Sends what waits. What went out before and may have been forgotten by the server since is for the person to decide. */
  flush() {
    if (!this.#options.canPublish() || this.#hold) return
    const now = Date.now()
    for (const entry of this.#options.outbox.entries) {
      if (entry.fault !== undefined || this.#inFlight.has(entry.id)) continue
      if (now - (entry.sentAt ?? now) < this.dedupeMs) this.#publish({ ...entry, sentAt: entry.sentAt ?? now })
      else this.#fail(entry, 'uncertain', 'It is not certain that this was sent.')
    }
  }

  #publish(entry: Entry) {
    this.#options.outbox.put(entry)
    this.#inFlight.add(entry.id)
    this.#options.publish(entry)
  }

  #fail(entry: Entry, code: FailureCode, fault: string) {
    this.#options.outbox.put({ ...entry, fault })
    this.#options.onFailure({ ...entry, code, fault })
  }

  #wait(reason: Hold['reason'], ms: number) {
    const until = Math.max(this.#hold?.until ?? 0, Date.now() + ms)
    this.#hold = { reason, until }
    clearTimeout(this.#resume)
    this.#resume = setTimeout(() => {
      this.#hold = undefined
      this.flush()
      this.#options.onHold(undefined)
    }, until - Date.now())
    this.#options.onHold(this.#hold)
  }
}
