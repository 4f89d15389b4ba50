// Made by `make types` from the Rust types in `src/protocol`. Do not edit.

/** A room. Clients name public ones, `[a-z0-9][a-z0-9._-]{0,63}`, and private ones, `~` and 26 digits of base 32. */
export type RoomId = string;

/** The id that a client gives its message: `[A-Za-z0-9_-]{1,64}`. Together with the sender it is the idempotency key. */
export type MessageId = string;

/** The name of a person: 1 to 64 characters after trimming, at least one of them visible, without control and text
 * direction override characters.
 *
 * The overrides and isolates (U+202A–E, U+2066–9) would let a name reorder the text around it. */
export type UserName = string;

/** The public id of a sender: the first 128 bits of the SHA-256 of its session, in base64url. `api` for publishes over
 * HTTP. */
export type UserId = string;

/** The secret of a guest: 128 random bits, 22 characters in base64url. It makes a client the same sender on every
 * connection and instance. Frames call it `session`.
 *
 * It must never be logged, so `Debug` does not show it. */
export type GuestSecret = string;

/** Number of a connection, unique on its instance until the process ends. */
export type ConnectionId = number;

/** The sender of a message: a person, or a program. */
export type User = {
  /** Derived from the session, so that no other person can have it. */
  id: UserId,
  /** Chosen freely: two users may have the same name. */
  name: UserName,
};

/** The limits of the server, as `welcome` carries them. */
export type Limits = {
  /** Largest frame that a client may send, in bytes. Above it the connection is closed with 1009. */
  frame_bytes: number,
  /** Largest body of a message, in bytes of UTF-8. */
  body_bytes: number,
  /** Longest name, in characters. */
  name_chars: number,
  /** Rooms that a connection may be in at a time. */
  rooms: number,
  /** Publishes that may wait for their ack. At this number the server stops reading until some are acked. */
  unacked_publishes: number,
};

/** The number of connections, over all instances. */
export type Count = {
  /** Connections of all instances. */
  connections: number,
  /** Instances that have reported their number. */
  instances: number,
  /** Whether instances may be missing from it, because Redis has come back only now. */
  settling: boolean,
};

/** Whether messages flow between instances. */
export type RelayState = "live" | "degraded";

/** Why messages after a cursor cannot be replayed. */
export type ResetReason = "too_old" | "unknown_cursor" | "hole";

/** Why a frame of a client, or an HTTP request, was refused. */
export type ErrorCode = "bad_frame" | "unknown_type" | "hello_required" | "hello_repeated" | "invalid_name" | "invalid_session" | "invalid_room" | "invalid_id" | "id_reused" | "invalid_body" | "body_too_large" | "empty_body" | "not_joined" | "too_many_rooms" | "rate_limited" | "overloaded" | "draining" | "not_allowed" | "no_such_room" | "invalid_token" | "token_expired" | "account_required" | "not_yours" | "invalid_emoji" | "no_such_file";

/** The refusal of a frame. Over HTTP a problem document carries the same codes. */
export type Refusal = {
  /** What is wrong, for programs. */
  code: ErrorCode,
  /** What is wrong, in English. The text may change. */
  detail: string,
  /** The `id` of the refused publish, cut to 64 characters. Left out for other frames, and with `bad_frame`. */
  id?: string,
  /** Time in milliseconds after which the frame may be sent again. Only with `rate_limited` and `overloaded`. */
  retry_after_ms?: number,
};

/** A message of the log. */
export type Message = {
  /** Its number in the log. Messages are ordered by it. */
  seq: number,
  /** The lowest `seq` at which anybody may have seen it, if Redis has lost it since: its place in the history. */
  first?: number,
  /** The `seq` it had before Redis lost it, if it did. A client that has shown the message under that `seq` ignores this one. */
  was?: number,
  /** The room it was published to. */
  room: RoomId,
  /** The id that the sender chose. Unique together with `from.id` and `room`. */
  id: MessageId,
  /** The sender. */
  from: User,
  /** The text. */
  body: string,
  /** When an instance accepted it, by its clock, in milliseconds since 1970. For display only: the order is that of `seq`. */
  at: number,
};

/** A page of a room's history, as it is answered over HTTP. */
export type HistoryPage = {
  /** The messages, in the order of `seq`. */
  messages: Array<Message>,
  /** Parts of the log, first to last `seq`, that were lost for good and that the page touches. */
  gaps?: Array<[number, number]>,
  /** The `before` to ask with for the next page, of older messages. Null if there are none. */
  next: number | null,
  /** The highest `seq` that the answering instance knows. Messages above it can be missing on this page. */
  seq: number,
};

/** The confirmation that a publish is in the log. */
export type Ack = {
  /** The id of the publish. */
  id: MessageId,
  /** Its number in the log. */
  seq: number,
  /** Whether the log had it already: it was sent before, or the server itself had to ask Redis twice. */
  duplicate?: boolean,
  /** Name of the instance that accepted it. */
  instance: string,
  /** When the instance accepted it, in milliseconds since 1970. */
  accepted_at: number,
  /** When the log confirmed it, in milliseconds since 1970. */
  logged_at: number,
};

/** The answer to `hello`. */
export type Welcome = {
  /** Version of the protocol. */
  version: number,
  /** Number of this connection, unique on its instance. */
  connection: ConnectionId,
  /** Name of the instance that serves it. */
  instance: string,
  /** The client's id and name, as others see them. */
  user: User,
  /** Whether the client is known by an account. */
  account?: boolean,
  /** The secret that the server made, if the client sent none. Keep it for the next `hello`. */
  session?: GuestSecret,
  /** The `seq` from which this connection is served. The cursor of a client that had none. */
  seq: number,
  /** Whether the replay begins at the client's cursor. If it sent one and this is false, a `reset` follows. */
  resumed: boolean,
  /** Interval of the `heartbeat` frames, in milliseconds. */
  heartbeat_ms: number,
  /** Time in milliseconds within which a publish that is sent again under its id is not delivered twice. */
  dedupe_ms: number,
  /** The limits of the protocol. */
  limits: Limits,
  /** The number of connections. */
  count: Count,
  /** The state of the connection between the instances. */
  relay: RelayState,
};

/** A frame from server to client. Its `type` is the `snake_case` name of the variant. */
export type ServerFrame = { "type": "welcome" } & Welcome | { "type": "live",
  /** The new cursor: everything up to here has been sent. */
  seq: number, } | { "type": "message" } & Message | { "type": "ack" } & Ack | { "type": "heartbeat",
  /** The new cursor: everything up to here has been sent. */
  seq: number, } | { "type": "count" } & Count | { "type": "typing",
  /** The room. */
  room: RoomId,
  /** The people who sent `typing` within the last second. */
  from: Array<User>, } | { "type": "joined",
  /** The room. */
  room: RoomId,
  /** The new cursor. Messages of the room above it come. */
  seq: number, } | { "type": "left",
  /** The room. */
  room: RoomId,
  /** The new cursor. Messages of the room above it do not come. */
  seq: number, } | { "type": "status",
  /** The new state. */
  relay: RelayState, } | { "type": "reset",
  /** The new cursor, even if it is lower than the old one. Messages above it come. */
  seq: number,
  /** Why they cannot be replayed. */
  reason: ResetReason, } | { "type": "drain",
  /** The time to wait in milliseconds, counted from the close. It differs from client to client. */
  reconnect_after_ms: number, } | { "type": "error" } & Refusal | { "type": "pong",
  /** The number of the ping, if it had one. */
  n?: number,
};

/** The cursor from which a client wants the messages that it missed. */
export type Resume = {
  /** The highest `seq` that it received. */
  seq: number,
};

/** The first frame of a client whose person has an account. */
export type AccountHello = {
  /** The access token of the person's session. */
  token: AccessToken,
  /** The public rooms to join. If it is left out: none. */
  rooms: Array<RoomId>,
  /** The cursor of an earlier connection. If it is left out, no old messages are sent. */
  resume?: Resume,
};

/** An access token. Only the server that issued it can read it. It must never be logged, so `Debug` does not show it. */
export type AccessToken = string;

/** The first frame of a client. */
export type Hello = {
  /** The person's name, as other people see it. */
  name: UserName,
  /** The secret that makes the client the same sender as before. If it is left out, the server makes one and puts it
   * into `welcome`. */
  session?: GuestSecret,
  /** The rooms to join. If it is left out: `lobby`. */
  rooms: Array<RoomId>,
  /** The cursor of an earlier connection. If it is left out, no old messages are sent. */
  resume?: Resume,
};

/** A message for a room. */
export type Publish = {
  /** Chosen by the client. It names one message of the sender in the room: within `dedupe_ms`, the same text is
   * delivered once, and another text is refused with `id_reused`. */
  id: MessageId,
  /** The room to publish it to. */
  room: RoomId,
  /** The text: something of it is visible, and it has at most `body_bytes` bytes of UTF-8. */
  body: string,
};

/** A frame from client to server. Its `type` is the `snake_case` name of the variant. */
export type ClientFrame = { "type": "hello" } & Hello | { "type": "hello" } & AccountHello | { "type": "publish" } & Publish | { "type": "join",
  /** The room. */
  room: RoomId, } | { "type": "leave",
  /** The room. */
  room: RoomId, } | { "type": "typing",
  /** The room. */
  room: RoomId, } | { "type": "ping",
  /** Any number. It comes back in the `pong`. */
  n?: number,
};

export const VERSION = 1
export const SUBPROTOCOL = 'hubbub.v1'
export const DEFAULT_ROOM = 'lobby'
export const LIMITS: Limits = {
  "frame_bytes": 65536,
  "body_bytes": 8192,
  "name_chars": 64,
  "rooms": 32,
  "unacked_publishes": 256
}

/** The codes with which the server closes a connection, and whether the client should connect again. */
export const CLOSES = [
  { code: 1002, name: 'protocol_error', isReconnectable: false },
  { code: 1003, name: 'binary_frame', isReconnectable: false },
  { code: 1007, name: 'invalid_utf8', isReconnectable: false },
  { code: 1009, name: 'frame_too_large', isReconnectable: false },
  { code: 1011, name: 'internal_error', isReconnectable: true },
  { code: 1012, name: 'drain', isReconnectable: true },
  { code: 1013, name: 'try_again_later', isReconnectable: true },
  { code: 4000, name: 'hello_timeout', isReconnectable: true },
  { code: 4001, name: 'heartbeat_lost', isReconnectable: true },
  { code: 4002, name: 'slow_consumer', isReconnectable: true },
  { code: 4003, name: 'rate_limited', isReconnectable: true },
  { code: 4004, name: 'address_full', isReconnectable: true },
  { code: 4500, name: 'bad_frame', isReconnectable: false },
  { code: 4501, name: 'too_many_connections', isReconnectable: false },
  { code: 4503, name: 'session_ended', isReconnectable: false },
  { code: 4504, name: 'token_expired', isReconnectable: false },
] as const
