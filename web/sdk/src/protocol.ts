/** Wire protocol v1: what the Rust types say, and the rules that both sides check. */
import { LIMITS, type Limits, type Message, type Refusal } from './protocol.gen.ts'

export * from './protocol.gen.ts'

/** The close code for a client whose address has too many connections. */
export const ADDRESS_FULL = 4004

const CLOSE_TEXT: Record<number, string> = {
  1002: 'The server could not understand this page.',
  1003: 'The server could not understand this page.',
  1007: 'The server could not understand this page.',
  1009: 'A message was larger than the server accepts.',
  4500: 'The server could not understand this page. It may have been updated.',
  4501: 'You have too many connections open. Close other tabs or devices, then try again.',
  4503: 'You have been signed out. Sign in again.',
  4504: 'Your sign-in has expired. Sign in again.',
}

/** Whether a client should connect again after this close code. */
export function isReconnectable(code: number): boolean {
  return ![1002, 1003, 1007, 1009].includes(code) && !(code >= 4500 && code <= 4999)
}

export function closeText(code: number): string {
  return CLOSE_TEXT[code] ?? `The server closed the connection for good (code ${code}).`
}

const NOT_UNDERSTOOD = 'The server could not understand this page. Reload it and try again.'

/** By code. The codes that newer servers have are among them. */
const REFUSAL_TEXT: Record<string, string> = {
  bad_frame: NOT_UNDERSTOOD,
  unknown_type: NOT_UNDERSTOOD,
  hello_required: NOT_UNDERSTOOD,
  hello_repeated: NOT_UNDERSTOOD,
  invalid_name: 'This name can’t be used. Please choose another one.',
  invalid_session: 'The server does not accept your session.',
  invalid_room: 'This room name can’t be used.',
  invalid_id: 'This message can’t be sent. Write it again.',
  invalid_body: 'This message has characters that can’t be sent.',
  id_reused: 'Another message was sent under the same id. Write this one again.',
  body_too_large: 'This message is too long.',
  empty_body: 'This message is empty.',
  not_joined: 'You are not in this room any more.',
  too_many_rooms: 'You are in as many rooms as the server allows. Leave one first.',
  rate_limited: 'You’re sending very fast. Try again in a moment.',
  overloaded: 'The server is busy. Try again in a moment.',
  draining: 'The server is restarting. Try again in a moment.',
  not_allowed: 'You can’t do this in this room.',
  no_such_room: 'There is no such room, or you are not in it.',
  invalid_token: 'You have been signed out. Sign in again.',
  token_expired: 'Your sign-in has expired. Sign in again.',
  account_required: 'Sign in to do this.',
  not_yours: 'Only its author can do this.',
  invalid_emoji: 'This is not an emoji.',
  no_such_file: 'There is no such file.',
}

/** What was refused, in words for a person. Only of a code that is not known here, the server's own words are given. */
export function refusalText({ code, detail }: Pick<Refusal, 'code' | 'detail'>): string {
  return REFUSAL_TEXT[code] ?? detail
}

/** What is wrong with the name of a room, in words for a person. */
export function roomFault(room: string): string | undefined {
  if (room === '') return 'Please enter a room name.'
  if (room.length > 64) return 'A room name has at most 64 characters.'
  if (/[^a-z0-9._-]/.test(room)) return `Use lowercase letters, numbers, dots, hyphens and underscores. Try “${suggestedRoom(room) ?? 'my-room'}”.`
  if (!/^[a-z0-9]/.test(room)) return 'Start with a letter or a number.'
  return undefined
}

/** A text of which nothing can be seen: blanks, control characters, and what Unicode displays as nothing. */
const INVISIBLE = /^[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]*$/u
/** The name of a room that is near to this text, if there is one. */
function suggestedRoom(text: string): string | undefined {
  const plain = text.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase()
  const name = plain.replaceAll(/[^a-z0-9._-]+/g, '-').replaceAll(/^[._-]+|[._-]+$/g, '').slice(0, 64)
  return name === '' ? undefined : name
}

/** What is wrong with a person's name. It is taken trimmed. */
export function nameFault(name: string): string | undefined {
  const trimmed = name.trim()
  if (INVISIBLE.test(trimmed)) return 'Please enter your name.'
  if ([...trimmed].length > LIMITS.name_chars) return `A name has at most ${LIMITS.name_chars} characters.`
  if (/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(trimmed)) return 'This name has characters that cannot be shown.'
  return undefined
}

/** What is wrong with what one wants to say, with the code that the server has for it. */
export function bodyFault(body: string, { body_bytes }: Limits = LIMITS): Pick<Refusal, 'code' | 'detail'> | undefined {
  if (INVISIBLE.test(body)) return { code: 'empty_body', detail: 'A message needs some text.' }
  if (body.includes('\0')) return { code: 'invalid_body', detail: 'A message cannot have the character U+0000.' }
  const bytes = new TextEncoder().encode(body).length
  if (bytes <= body_bytes) return undefined
  return { code: 'body_too_large', detail: `A message has at most ${body_bytes} bytes. This one has ${bytes}.` }
}

/** The text as UTF-8 can say it: a surrogate without its other half becomes U+FFFD, as `toWellFormed` does it in newer browsers. */
export function wellFormed(text: string): string {
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd')
}

/** What makes a message the same message: the sender, the room, and the sender's id for it there. */
export function keyOf({ from, room, id }: Pick<Message, 'from' | 'room' | 'id'>): string {
  return `${from.id}:${room}:${id}`
}

/** The place of a message in its room: the lowest `seq` at which anybody may have seen it. History and pages are ordered by it. */
export function placeOf({ first, was, seq }: Message): number {
  return first ?? was ?? seq
}
