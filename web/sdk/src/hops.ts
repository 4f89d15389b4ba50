import type { Ack, Message } from './protocol.ts'

/** When an own message reached each step of its way, as far as that is known. Times are milliseconds since 1970. */
export type Hops = {
  /** It first went out, by the clock of this client. */
  sentAt?: number
  /** Which instance took it. */
  instance?: string
  /** It was taken, by the clock of that instance. */
  acceptedAt?: number
  /** It got its place in the log, by the clock of that instance. */
  loggedAt?: number
  /** The ack came, by the clock of this client. */
  ackedAt?: number
  /** It came back like everyone's messages, by the clock of this client. */
  shownAt?: number
}

/** A message, and its way if it is one's own and was sent from here. */
export type Traced = Message & { hops?: Hops }

export function ackHops({ instance, accepted_at, logged_at }: Ack): Hops {
  return { instance, acceptedAt: accepted_at, loggedAt: logged_at, ackedAt: Date.now() }
}
