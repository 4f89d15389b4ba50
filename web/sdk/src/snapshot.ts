import type { Link } from './connection.ts'
import type { Hold } from './courier.ts'
import type { Count, Limits, RelayState, User, Welcome } from './protocol.ts'
import type { RoomView } from './room.ts'

/** Everything there is to show. A new one is made after each change; unchanged rooms keep their view. */
export type Snapshot = {
  name: string | undefined
  me: User | undefined
  link: Link
  /** Since when the connection does not stand, while it should, by `performance.now()`. */
  outageSince: number | undefined
  relay: RelayState
  count: Count | undefined
  server: Pick<Welcome, 'instance' | 'connection' | 'version'> | undefined
  limits: Limits
  /** The highest seq received. */
  cursor: number | undefined
  rooms: readonly RoomView[]
  active: RoomView | undefined
  hold: Hold | undefined
  /** Nothing more can be sent until some of what waits is through. */
  isOutboxFull: boolean
  /** The last thing that went wrong and belongs to no message. */
  problem: string | undefined
}
