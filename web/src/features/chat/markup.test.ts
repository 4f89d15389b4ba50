import { expect, test } from 'vitest'
import { isVisible } from '@/ui/visible'
import { blocksOf, isEmojiOnly } from './markup'

function told(body: string) {
  return blocksOf(body).map((block) =>
    block.kind === 'code' ? { code: block.text } : block.pieces.map(({ text, href, isCode }) => (isCode ? { code: text } : href ? { href } : text)),
  )
}

test('text between fences is code, and what is around it is text', () => {
  expect(told('before\n```ts\nlet a = `b`\n\nlet c\n```\nafter')).toEqual([
    ['before'],
    { code: 'let a = `b`\n\nlet c' },
    ['after'],
  ])
})

test('a fence that is not closed is text', () => {
  expect(told('```\nlet a')).toEqual([['```\nlet a']])
})

test('a fence may be empty, closed at the end of a line, and followed by another', () => {
  expect(told('```\n```\n```\n\n```\n```a\nb```  \nc')).toEqual([{ code: '' }, { code: '' }, { code: 'b' }, ['c']])
})

test('many fences that are not closed take no longer than other text', () => {
  const start = process.cpuUsage()
  for (let n = 0; n < 20; n += 1) blocksOf('```a\n'.repeat(1638))
  expect(process.cpuUsage(start).user / 1000).toBeLessThan(200)
})

test('an address in code is no link', () => {
  expect(told('see https://example.org/ or `https://example.org/`')).toEqual([
    ['see ', { href: 'https://example.org/' }, ' or ', { code: 'https://example.org/' }],
  ])
})

test('pieces of one text have places of their own', () => {
  const [block] = blocksOf('`a` https://example.org/ `b` https://example.org/ c')
  const places = block?.kind === 'text' ? block.pieces.map(({ at }) => at) : []
  expect(new Set(places).size).toBe(places.length)
})

test('a few emoji alone are told from text and from numbers', () => {
  for (const body of ['🎉', '🎉🎉', '👩🏽‍🚀 🇫🇮', '❤️']) expect(isEmojiOnly(body)).toBe(true)
  for (const body of ['1', '🎉!', 'a', '', '🎉'.repeat(7)]) expect(isEmojiOnly(body)).toBe(false)
})

test('text that leaves no mark is told from text that does', () => {
  for (const text of ['\u200b\u200d\ufeff', '\u202e', '\u3164', '\u2800', ' \u00a0', '\u0301']) expect(isVisible(text)).toBe(false)
  for (const text of ['a\u200b', '.', '🎉', 'ا']) expect(isVisible(text)).toBe(true)
})
