/** The frames of wire protocol v1 and the rules that both sides check. */

export const SUBPROTOCOL = 'hubbub.v1'
export const DEFAULT_ROOM = 'lobby'
export const MAX_NAME_CHARS = 64

export type User = { id: string; name: string }
export type Count = { connections: number; instances: number; settling: boolean }
export type Relay = 'live' | 'degraded'
export type Limits = {
  frame_bytes: number
  body_bytes: number
  name_chars: number
  rooms: number
  unacked_publishes: number
}

export const DEFAULT_LIMITS: Limits = {
  frame_bytes: 65_536,
  body_bytes: 8192,
  name_chars: MAX_NAME_CHARS,
  rooms: 32,
  unacked_publishes: 256,
}

export type Message = {
  seq: number
  room: string
  id: string
  from: User
  body: string
  /** The accepting instance's clock; order is `seq`, never this. */
  at: number
  /** The seq it had before Redis lost it. */
  was?: number
}

export type Welcome = {
  version: number
  connection: number
  instance: string
  user: User
  session?: string
  seq: number
  resumed: boolean
  heartbeat_ms: number
  dedupe_ms: number
  limits: Limits
  count: Count
  relay: Relay
}

export type Ack = {
  id: string
  seq: number
  duplicate?: boolean
  instance: string
  accepted_at: number
  logged_at: number
}

export type Refusal = { code: string; detail: string; id?: string; retry_after_ms?: number }

export type ServerFrame =
  | ({ type: 'welcome' } & Welcome)
  | { type: 'live'; seq: number }
  | ({ type: 'message' } & Message)
  | ({ type: 'ack' } & Ack)
  | { type: 'heartbeat'; seq: number }
  | ({ type: 'count' } & Count)
  | { type: 'typing'; room: string; from: User[] }
  | { type: 'joined'; room: string; seq: number }
  | { type: 'left'; room: string; seq: number }
  | { type: 'status'; relay: Relay }
  | { type: 'reset'; seq: number; reason: string }
  | { type: 'drain'; reconnect_after_ms: number }
  | ({ type: 'error' } & Refusal)
  | { type: 'pong'; n?: number }

export type ClientFrame =
  | { type: 'hello'; name: string; session: string; rooms: string[]; resume?: { seq: number } }
  | { type: 'publish'; id: string; room: string; body: string }
  | { type: 'join'; room: string }
  | { type: 'leave'; room: string }
  | { type: 'typing'; room: string }
  | { type: 'ping'; n?: number }

const CLOSE_TEXT: Record<number, string> = {
  1002: 'The server could not understand this page.',
  1003: 'The server could not understand this page.',
  1007: 'The server could not understand this page.',
  1009: 'A message was larger than the server accepts.',
  4500: 'The server could not understand this page. It may have been updated.',
  4501: 'There are too many connections from your address or session. Close other tabs first.',
}

/** Whether a client should connect again after this close code. */
export function isReconnectable(code: number): boolean {
  return ![1002, 1003, 1007, 1009].includes(code) && !(code >= 4500 && code <= 4999)
}

export function closeText(code: number): string {
  return CLOSE_TEXT[code] ?? `The server closed the connection for good (code ${code}).`
}

/** What is wrong with the name of a room, in words for a person. */
export function roomFault(room: string): string | undefined {
  if (room === '') return 'Enter the name of a room.'
  if (room.length > 64) return 'A room name has at most 64 characters.'
  if (/[^a-z0-9._-]/.test(room)) return 'Use small letters a–z, digits, dots, dashes and underscores only.'
  if (!/^[a-z0-9]/.test(room)) return 'Start with a letter or a digit.'
  return undefined
}

/** What is wrong with a person's name. It is taken trimmed. */
export function nameFault(name: string): string | undefined {
  const trimmed = name.trim()
  if (trimmed === '') return 'Enter a name.'
  if ([...trimmed].length > MAX_NAME_CHARS) return `A name has at most ${MAX_NAME_CHARS} characters.`
  if (/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(trimmed)) return 'This name has characters that cannot be shown.'
  return undefined
}
