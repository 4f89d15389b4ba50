import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { bodyFault, CLOSES, closeText, isReconnectable, nameFault, refusalText, roomFault, wellFormed, type ErrorCode } from './protocol.ts'
import { randomId } from './random.ts'

test.each(['a', '0', 'lobby', 'a.b_c-d', 'x'.repeat(64)])('%s is a room', (room) => {
  expect(roomFault(room)).toBeUndefined()
})

test.each(['', 'A', '-a', '.a', 'a b', 'ä', 'a/b', 'x'.repeat(65)])('“%s” is no room', (room) => {
  expect(roomFault(room)).toBeDefined()
})

test.each(['Ann', ' Ann ', 'ليلى', '😀'.repeat(64)])('%s is a name', (name) => {
  expect(nameFault(name)).toBeUndefined()
})

test.each(['', '  ', 'a\u0000b', 'a\u202eb', 'x'.repeat(65)])('“%s” is no name', (name) => {
  expect(nameFault(name)).toBeDefined()
})

// the server has the same cases
const CASES = join(dirname(fileURLToPath(import.meta.url)), '../../../tests/text')
const read = (name: string) => JSON.parse(readFileSync(join(CASES, name), 'utf8'))
const cases: Record<'visible' | 'invisible', string[]> = read('visibility.json')
const bodies: Record<'valid' | 'invalid', string[]> = read('bodies.json')

test.each(cases.visible)('something of %j can be seen', (text) => {
  expect(bodyFault(text)).toBeUndefined()
})

test.each(cases.invisible)('nothing of %j can be seen', (text) => {
  expect([bodyFault(text)?.code, nameFault(text)]).toEqual(['empty_body', 'Please enter your name.'])
})

test.each(bodies.invalid)('%j cannot be stored', (text) => {
  expect(bodyFault(text)?.code).toBe('invalid_body')
})

test.each(bodies.valid)('%j can be stored', (text) => {
  expect(bodyFault(text)).toBeUndefined()
})

test('an id is 22 characters of base64url and never the same', () => {
  const ids = new Set(Array.from({ length: 100 }, randomId))
  expect(ids.size).toBe(100)
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{21}[AQgw]$/)
})

test.each(CLOSES)('whether $code brings a client back is what the server says', ({ code, isReconnectable: comesBack }) => {
  expect(isReconnectable(code)).toBe(comesBack)
})

test.each(CLOSES.filter((close) => !close.isReconnectable))('$code is explained to a person', ({ code }) => {
  expect(closeText(code)).not.toContain('code')
})

const CODES: Record<ErrorCode | 'invalid_body' | 'id_reused', true> = {
  bad_frame: true,
  unknown_type: true,
  hello_required: true,
  hello_repeated: true,
  invalid_name: true,
  invalid_session: true,
  invalid_room: true,
  invalid_id: true,
  body_too_large: true,
  empty_body: true,
  not_joined: true,
  too_many_rooms: true,
  rate_limited: true,
  overloaded: true,
  draining: true,
  invalid_body: true,
  id_reused: true,
  not_allowed: true,
  no_such_room: true,
  invalid_token: true,
  token_expired: true,
  account_required: true,
  not_yours: true,
  invalid_emoji: true,
  no_such_file: true,
}

test.each(Object.keys(CODES) as ErrorCode[])('of %s a person reads our words, not those of the server', (code) => {
  expect(refusalText({ code, detail: 'raw' })).not.toBe('raw')
})

test('of a code that is not known the words of the server are given', () => {
  expect(refusalText({ code: 'newer' as ErrorCode, detail: 'The server is on holiday.' })).toBe('The server is on holiday.')
})

test.each([
  ['My Room', 'my-room'],
  ['Büro!', 'buro'],
  ['..a b..', 'a-b'],
  ['НЕТ', 'my-room'],
])('who wants the room “%s” is offered “%s”', (room, offer) => {
  expect(roomFault(room)).toContain(`Try “${offer}”.`)
})

test('half an emoji becomes a sign that can be sent', () => {
  expect(wellFormed('a\ud83d b \ude00 🎉')).toBe('a\ufffd b \ufffd 🎉')
})
