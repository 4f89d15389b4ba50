/** Wire protocol v1: what the Rust types say, and the rules that both sides check. */
import { LIMITS, type Limits, type Message, type Refusal } from './protocol.gen.ts'

export * from './protocol.gen.ts'

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

/** A text of which nothing can be seen: blanks, control characters, and what Unicode displays as nothing. */
const INVISIBLE = /^[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]*$/u

/** What is wrong with a person's name. It is taken trimmed. */
export function nameFault(name: string): string | undefined {
  const trimmed = name.trim()
  if (INVISIBLE.test(trimmed)) return 'Enter a name.'
  if ([...trimmed].length > LIMITS.name_chars) return `A name has at most ${LIMITS.name_chars} characters.`
  if (/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(trimmed)) return 'This name has characters that cannot be shown.'
  return undefined
}

/** What is wrong with what one wants to say, with the code that the server has for it. */
export function bodyFault(body: string, { body_bytes }: Limits = LIMITS): Pick<Refusal, 'code' | 'detail'> | undefined {
  if (INVISIBLE.test(body)) return { code: 'empty_body', detail: 'A message needs some text.' }
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
