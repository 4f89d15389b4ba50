import type { Link } from './connection.ts'
import type { Failure, Hold, Receipt } from './courier.ts'
import type { Ack, Count, Message, Refusal, RelayState, ResetReason, User, Welcome } from './protocol.ts'

/** The values of a client's events, by the name of the event. */
export type ClientEvents = {
  link: Link
  welcome: Welcome
  message: Message
  /** The server's answer to a publish, with its times. It comes before or after the message itself. */
  ack: Ack
  /** A message of one's own has its place: emitted once, at the ack or at the message, whichever comes first. */
  sent: Receipt
  failed: Failure
  /** What waits to be sent in these rooms is no longer what it was. */
  outbox: readonly string[]
  /** The storage is full or forbidden: unsent messages are lost when the program ends. Emitted once. */
  unkept: undefined
  /** Until when the server takes no messages; they wait. */
  hold: Hold | undefined
  joined: { room: string; seq: number }
  left: { room: string; seq: number }
  typing: { room: string; from: User[] }
  /** Everything up to this `seq` has come. */
  heartbeat: { seq: number }
  count: Count
  relay: RelayState
  /** What came between `from` and `seq` cannot be replayed. Some of it may be in the history. */
  reset: { seq: number; reason: ResetReason; from: number | undefined }
  /** Something was refused that is no message, while the connection goes on. */
  refused: Refusal
}
