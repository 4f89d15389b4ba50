// Made by `make types` from the Rust types in `src/protocol`. Do not edit.

/** A room: `[a-z0-9][a-z0-9._-]{0,63}`. */
export type RoomId = string;

/** The id a client gives its message, the idempotency key together with its sender: `[A-Za-z0-9_-]{1,64}`. */
export type MessageId = string;

/** What a person is called: trimmed, 1 to 64 characters, no control and no bidi override characters.
 *
 * The overrides and isolates (U+202A–E, U+2066–9) would let a name rearrange the text around it. */
export type UserName = string;

/** A sender: the first 128 bits of the SHA-256 of a session, or `api` for publishes from a back end. */
export type UserId = string;

/** A guest's secret of 128 random bits, which makes it the same sender on every connection and instance.
 *
 * Its `Debug` hides it: it must never reach a log. */
export type GuestSecret = string;

/** A connection, unique on its instance for the life of the process. */
export type ConnectionId = number;

/** A person, or whatever speaks as one. */
export type User = {
  /** Proven by the session. */
  id: UserId,
  /** Chosen freely. */
  name: UserName,
};

/** The limits as `welcome` tells them. */
export type Limits = {
  /** Largest inbound frame, in bytes. */
  frame_bytes: number,
  /** Largest body, in bytes. */
  body_bytes: number,
  /** Longest name, in characters. */
  name_chars: number,
  /** Rooms a connection. */
  rooms: number,
  /** Publishes without an ack. */
  unacked_publishes: number,
};

/** How many are connected, over all instances. */
export type Count = {
  /** Connections of all instances. */
  connections: number,
  /** Instances that report. */
  instances: number,
  /** Not all instances may have reported yet since Redis came back. */
  settling: boolean,
};

/** Whether messages flow between instances. */
export type RelayState = "live" | "degraded";

/** Why a cursor could not be taken up. */
export type ResetReason = "too_old" | "unknown_cursor" | "hole";

/** What can be wrong with a frame of a client. */
export type ErrorCode = "bad_frame" | "unknown_type" | "hello_required" | "hello_repeated" | "invalid_name" | "invalid_session" | "invalid_room" | "invalid_id" | "body_too_large" | "empty_body" | "not_joined" | "too_many_rooms" | "rate_limited" | "overloaded" | "draining";

/** A frame was refused; the connection goes on. */
export type Refusal = {
  /** What is wrong, for programs. */
  code: ErrorCode,
  /** What is wrong, for people. */
  detail: string,
  /** The publish it is about. */
  id?: string,
  /** When a repetition may succeed. */
  retry_after_ms?: number,
};

/** A message in its place. */
export type Message = {
  /** Its place. */
  seq: number,
  /** The place it had before Redis lost it. */
  was?: number,
  /** Where it was said. */
  room: RoomId,
  /** The sender's id for it. */
  id: MessageId,
  /** Who said it. */
  from: User,
  /** What was said. */
  body: string,
  /** When the accepting instance took it. The order is `seq`, never this. */
  at: number,
};

/** A page of a room's history, as it is answered over HTTP. */
export type HistoryPage = {
  /** In the order of `seq`. */
  messages: Array<Message>,
  /** The `before` of the page of older ones, if there are any. */
  next: number | null,
  /** The highest place that the answering instance knows: what is above it may be missing here. */
  seq: number,
};

/** The confirmation that a publish is in the log. */
export type Ack = {
  /** The id the client gave. */
  id: MessageId,
  /** Its place. */
  seq: number,
  /** It was there already: this is a repetition. */
  duplicate?: boolean,
  /** The instance that accepted it. */
  instance: string,
  /** When it was accepted. */
  accepted_at: number,
  /** When the log had it. */
  logged_at: number,
};

/** The answer to `hello`. */
export type Welcome = {
  /** Version of the protocol. */
  version: number,
  /** This connection, unique on its instance. */
  connection: ConnectionId,
  /** The instance that serves it. */
  instance: string,
  /** Who the client is. */
  user: User,
  /** The secret the server made because the client sent none. */
  session?: GuestSecret,
  /** The point from which this connection is served. */
  seq: number,
  /** Whether the cursor of the client was taken up. */
  resumed: boolean,
  /** How often a `heartbeat` comes, in milliseconds. */
  heartbeat_ms: number,
  /** How long a publish may be repeated under its id, in milliseconds. */
  dedupe_ms: number,
  /** The limits of the protocol. */
  limits: Limits,
  /** The live connection counter. */
  count: Count,
  /** The state of the relay. */
  relay: RelayState,
};

/** A frame from server to client. Its `type` is the `snake_case` name of the variant. */
export type ServerFrame = { "type": "welcome" } & Welcome | { "type": "live",
  /** Everything up to here has been sent. */
  seq: number, } | { "type": "message" } & Message | { "type": "ack" } & Ack | { "type": "heartbeat",
  /** The cursor to keep. */
  seq: number, } | { "type": "count" } & Count | { "type": "typing",
  /** The room. */
  room: RoomId,
  /** Those who typed within the last second. */
  from: Array<User>, } | { "type": "joined",
  /** The room. */
  room: RoomId,
  /** Messages of the room above this come live. */
  seq: number, } | { "type": "left",
  /** The room. */
  room: RoomId,
  /** No message of the room above this will come. */
  seq: number, } | { "type": "status",
  /** Its state. */
  relay: RelayState, } | { "type": "reset",
  /** Messages above this come. */
  seq: number,
  /** Why. */
  reason: ResetReason, } | { "type": "drain",
  /** When to come back, counted from the close. */
  reconnect_after_ms: number, } | { "type": "error" } & Refusal | { "type": "pong",
  /** What the ping carried. */
  n?: number,
};

/** A client's whole state towards the server. */
export type Resume = {
  /** The last `seq` it saw. */
  seq: number,
};

/** The first frame of a client. */
export type Hello = {
  /** What the person is called. */
  name: UserName,
  /** The secret that makes it the same sender as before. */
  session?: GuestSecret,
  /** The rooms to hear; `lobby` when the client names none. */
  rooms: Array<RoomId>,
  /** Where an earlier connection stopped. */
  resume?: Resume,
};

/** A message for a room. */
export type Publish = {
  /** The idempotency key, together with the sender. */
  id: MessageId,
  /** Where to say it. */
  room: RoomId,
  /** What to say. */
  body: string,
};

/** A frame from client to server. Its `type` is the `snake_case` name of the variant. */
export type ClientFrame = { "type": "hello" } & Hello | { "type": "publish" } & Publish | { "type": "join",
  /** The room. */
  room: RoomId, } | { "type": "leave",
  /** The room. */
  room: RoomId, } | { "type": "typing",
  /** The room. */
  room: RoomId, } | { "type": "ping",
  /** Comes back in the pong. */
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

/** The codes with which the server closes a connection, and whether a client comes back. */
export const CLOSES = [
  { code: 1000, name: 'normal', isReconnectable: true },
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
  { code: 4500, name: 'bad_frame', isReconnectable: false },
  { code: 4501, name: 'too_many_connections', isReconnectable: false },
] as const
