import { expect, test } from 'vitest'
import { splitLinks } from './links'

function hrefs(text: string): (string | undefined)[] {
  return splitLinks(text).map(({ href }) => href)
}

test('an address in a sentence is cut out without the punctuation', () => {
  expect(splitLinks('See https://example.org/a?b=c.')).toEqual([
    { at: 0, text: 'See ' },
    { at: 4, text: 'https://example.org/a?b=c', href: 'https://example.org/a?b=c' },
    { at: 29, text: '.' },
  ])
})

test('brackets around an address are not part of it, those inside are', () => {
  expect(splitLinks('(https://example.org/a)')[1]?.text).toBe('https://example.org/a')
  expect(splitLinks('https://example.org/a_(b)')[0]?.text).toBe('https://example.org/a_(b)')
})

test.each([')', '!', '.)', 'https://'])('thousands of %s behind an address are only text', (tail) => {
  const text = `https://a.example/b${tail.repeat(8000)}`
  expect(splitLinks(text).map((piece) => piece.text).join('')).toBe(text)
})

test.each(['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'ftp://example.org', 'https://'])(
  '%s is only text',
  (text) => {
    expect(hrefs(text)).toEqual([undefined])
  },
)

test('the pieces together are the text', () => {
  const text = 'a http://b.example, https://c.example/<d> "https://e.example" f'
  expect(
    splitLinks(text)
      .map((piece) => piece.text)
      .join(''),
  ).toBe(text)
})

test('no text has no pieces', () => {
  expect(splitLinks('')).toEqual([])
})

test('an address ends before a sign that would show it in another order', () => {
  expect(splitLinks('https://example.org/a\u202egnp.exe')[0]).toEqual({
    at: 0,
    text: 'https://example.org/a',
    href: 'https://example.org/a',
  })
})
