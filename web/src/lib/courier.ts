import type { Entry, Outbox } from './outbox'
import type { Refusal } from './protocol'

export type Hold = { reason: 'rate_limited' | 'overloaded'; until: number }

export type CourierOptions = {
  outbox: Outbox
  canPublish: () => boolean
  publish: (entry: Entry) => void
  /** Something changed, in this room or in general. */
  onChange: (room?: string) => void
}

const HOLD_MS = 1000

/** Gets what is in the outbox to the server: in order, once, and no faster than the server allows. */
export class Courier {
  /** How long the server remembers what it has. */
  dedupeMs = 120_000
  #hold: Hold | undefined
  readonly #inFlight = new Set<string>()
  readonly #options: CourierOptions

  constructor(options: CourierOptions) {
    this.#options = options
  }

  /** The server does not take messages before this is over. They wait. */
  get hold(): Hold | undefined {
    return this.#hold
  }

  send(room: string, body: string) {
    this.#options.outbox.add(room, body)
    this.flush()
    this.#options.onChange(room)
  }

  /** Sends a failed message after all. The id stays, so that who has it already does not see it twice. */
  retry(id: string) {
    const entry = this.#options.outbox.get(id)
    if (!entry) return
    this.#options.outbox.put({ id, room: entry.room, body: entry.body, at: Date.now() })
    this.flush()
    this.#options.onChange(entry.room)
  }

  discard(id: string) {
    const entry = this.#options.outbox.get(id)
    this.#options.outbox.remove(id)
    this.#options.onChange(entry?.room)
  }

  /** The server has it. */
  confirm(id: string) {
    this.#inFlight.delete(id)
    if (this.#options.outbox.get(id)) this.#options.outbox.remove(id)
  }

  /** The server did not take it, for now or for good. Says whether it was one of ours. */
  refuse({ id, code, detail, retry_after_ms }: Refusal): boolean {
    const entry = this.#options.outbox.get(id ?? '')
    if (!entry) return false
    // the next instance gets what a draining one refuses
    if (code === 'draining') return true
    this.#inFlight.delete(entry.id)
    if (code === 'rate_limited' || code === 'overloaded') this.#wait(code, retry_after_ms ?? HOLD_MS)
    else this.#fail(entry, detail)
    return true
  }

  /** The connection is gone, and with it all answers that were due. */
  interrupt() {
    this.#inFlight.clear()
  }

  /** Sends what waits. What went out before and may have been forgotten by the server since is for the person to decide. */
  flush() {
    if (!this.#options.canPublish() || this.#hold) return
    const now = Date.now()
    for (const entry of this.#options.outbox.entries) {
      if (entry.fault !== undefined || this.#inFlight.has(entry.id)) continue
      if (now - (entry.sentAt ?? now) < this.dedupeMs) this.#publish({ ...entry, sentAt: entry.sentAt ?? now })
      else this.#fail(entry, 'It is not certain that this was sent.')
    }
  }

  #publish(entry: Entry) {
    this.#options.outbox.put(entry)
    this.#inFlight.add(entry.id)
    this.#options.publish(entry)
  }

  #fail(entry: Entry, fault: string) {
    this.#options.outbox.put({ ...entry, fault })
    this.#options.onChange(entry.room)
  }

  #wait(reason: Hold['reason'], ms: number) {
    const hold = { reason, until: Math.max(this.#hold?.until ?? 0, Date.now() + ms) }
    this.#hold = hold
    setTimeout(() => {
      if (this.#hold !== hold) return
      this.#hold = undefined
      this.flush()
      this.#options.onChange()
    }, hold.until - Date.now())
    this.#options.onChange()
  }
}
