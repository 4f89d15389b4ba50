import { splitLinks, type Piece as Linked } from '@/lib/links'

/** Part of a line: text, an address, or code. */
export type Piece = Linked & { isCode?: true }

/** Part of a message. */
export type Block = { at: number; kind: 'text'; pieces: Piece[] } | { at: number; kind: 'code'; text: string }

const FENCED = /^```[^\S\n]*\w*\n(.*?)\n?```[^\S\n]*$\n?/gmsu
const INLINE = /`([^`\n]+)`/gu
const SIGN = String.raw`\p{ExtPict}\ufe0f?\p{EMod}?`
const EMOJI_ONLY = new RegExp(String.raw`^(?:(?:\p{RI}{2}|${SIGN}(?:\u200d${SIGN})*)\s*){1,6}$`, 'u')
const VISIBLE = /[^\p{C}\p{Z}\p{M}\u034f\u115f\u1160\u3164\uffa0]/u

/** What the signs in a message mean: code between backquotes, and web addresses. All else is text. */
export function blocksOf(body: string): Block[] {
  const blocks: Block[] = []
  let end = 0
  const addText = (until: number) => {
    const text = body.slice(end, until)
    if (text.trim() !== '') blocks.push({ at: end, kind: 'text', pieces: piecesOf(text.replace(/\n$/u, '')) })
  }
  for (const { 0: match, 1: text = '', index } of body.matchAll(FENCED)) {
    addText(index)
    blocks.push({ at: index, kind: 'code', text })
    end = index + match.length
  }
  addText(body.length)
  return blocks
}

function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = []
  let end = 0
  const addPlain = (until: number) => {
    for (const piece of splitLinks(text.slice(end, until))) pieces.push({ ...piece, at: end + piece.at })
  }
  for (const { 0: match, 1: code = '', index } of text.matchAll(INLINE)) {
    addPlain(index)
    pieces.push({ at: index, text: code, isCode: true })
    end = index + match.length
  }
  addPlain(text.length)
  return pieces
}

/** Whether it is nothing but a few emoji, which can be shown larger. */
export function isEmojiOnly(body: string): boolean {
  return EMOJI_ONLY.test(body)
}

/** Whether any of it leaves a mark on the screen. */
export function isVisible(text: string): boolean {
  return VISIBLE.test(text)
}
