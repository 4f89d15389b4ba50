import { LIMITS, type Message, type ServerFrame, type User } from './protocol.ts'

type Fields = Record<string, unknown>

/** The fields of each frame that the client relies on, and no others. */
const CHECKS: { [Type in ServerFrame['type']]: (frame: Fields) => boolean } = {
  welcome: ({ user, limits, count, seq, heartbeat_ms, dedupe_ms }) =>
    isUser(user) && areLimits(Object(limits)) && isCount(Object(count)) && [seq, heartbeat_ms, dedupe_ms].every(isNumber),
  live: ({ seq }) => isNumber(seq),
  heartbeat: ({ seq }) => isNumber(seq),
  message: isMessage,
  ack: ({ id, seq }) => isText(id) && isNumber(seq),
  count: isCount,
  typing: ({ room, from }) => isText(room) && Array.isArray(from) && from.every(isUser),
  joined: ({ room, seq }) => isText(room) && isNumber(seq),
  left: ({ room, seq }) => isText(room) && isNumber(seq),
  status: ({ relay }) => relay === 'live' || relay === 'degraded',
  reset: ({ seq }) => isNumber(seq),
  drain: ({ reconnect_after_ms }) => isNumber(reconnect_after_ms),
  error: ({ code, detail }) => isText(code) && isText(detail),
  pong: () => true,
}

/** Parses a frame of the server. Anything that does not match the protocol is dropped, with a warning on the console. */
export function readFrame(data: unknown): ServerFrame | undefined {
  const frame = parse(data)
  if (isFrame(frame)) return frame
  console.warn('This is no frame of the protocol of Hubbub:', data)
  return undefined
}

export function isMessage(value: unknown): value is Message {
  const { seq, room, id, from, body, at } = Object(value)
  return [seq, at].every(isNumber) && [room, id, body].every(isText) && isUser(from)
}

/** Frames of a type that is not known here come from newer servers. */
function isFrame(value: unknown): value is ServerFrame {
  const { type } = Object(value)
  return isText(type) && (!isKnown(type) || CHECKS[type](Object(value)))
}

function isKnown(type: string): type is ServerFrame['type'] {
  return Object.hasOwn(CHECKS, type)
}

function isUser(value: unknown): value is User {
  const { id, name } = Object(value)
  return isText(id) && isText(name)
}

function areLimits(limits: Fields): boolean {
  return Object.keys(LIMITS).every((name) => isNumber(limits[name]))
}

function isCount({ connections, instances }: Fields): boolean {
  return isNumber(connections) && isNumber(instances)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isNumber(value: unknown): value is number {
  return Number.isFinite(value)
}

function parse(data: unknown): unknown {
  try {
    return typeof data === 'string' ? JSON.parse(data) : undefined
  } catch {
    return undefined
  }
}
