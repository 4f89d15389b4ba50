import { expect, test } from 'vitest'
import { found } from './fit'

const ROOMS = ['trust', 'book-club', 'rust-help', 'rust', 'clubhouse', 'help.rust', 'new_rust'].map((name) => ({ name, unread: 0 }))
const COMMANDS = [
  { label: 'Change your name', words: 'rename profile' },
  { label: 'Theme: System', words: 'change dark light appearance' },
  { label: 'Copy link', words: 'share address url room' },
]

function find(typed: string, rooms = ROOMS): string[] {
  const { rooms: names, commands } = found(typed, rooms, COMMANDS)
  return [...names.map(({ name }) => name), ...commands.map(({ label }) => label)]
}

test('a room is found by its name, then by its beginning, then by any word of it', () => {
  expect(find('rust')).toEqual(['rust', 'rust-help', 'help.rust', 'new_rust'])
  expect(find('#Rust')).toEqual(['rust', 'rust-help', 'help.rust', 'new_rust'])
  expect(find('help rust')).toEqual(['rust-help', 'help.rust'])
  expect(find('rust-h')).toEqual(['rust-help'])
})

test('the middle of the word of a room is found where nothing else is, and that of a command never', () => {
  expect(find('house')).toEqual(['clubhouse'])
  expect(find('lub')).toEqual(['book-club', 'clubhouse'])
  expect(find('oo')).toEqual(['book-club'])
  expect(find('ear')).toEqual([])
  expect(find('hare')).toEqual([])
})

test('a command is found by the beginning of its words, and first by its name', () => {
  expect(find('change')).toEqual(['Change your name', 'Theme: System'])
  expect(find('name')).toEqual(['Change your name'])
  expect(find('na yo')).toEqual(['Change your name'])
  expect(find('link')).toEqual(['Copy link'])
  expect(find('ren')).toEqual(['Change your name'])
  // the middle of a word would do, were there nothing better
  expect(find('dar', [{ name: 'calendar', unread: 0 }])).toEqual(['Theme: System'])
})

test('among rooms that fit alike those with news come first', () => {
  const rooms = [{ name: 'a-1', unread: 0 }, { name: 'a-2', unread: 3 }, { name: 'a', unread: 0 }, { name: 'b', unread: 1 }]
  expect(find('a', rooms).slice(0, 3)).toEqual(['a', 'a-2', 'a-1'])
  expect(find('', rooms).slice(0, 4)).toEqual(['a-2', 'b', 'a-1', 'a'])
})
