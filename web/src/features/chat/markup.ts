import { splitLinks, type Piece as Linked } from './links'

/** Part of a line: text, an address, or code. */
export type Piece = Linked & { isCode?: true }

/** Part of a message. */
type Block = { at: number; kind: 'text'; pieces: Piece[] } | { at: number; kind: 'code'; text: string }

const FENCE = /^```[^\S\n]*\w*\n/gmu
const FENCE_END = /\n?```[^\S\n]*$\n?/gmu
const INLINE = /`([^`\n]+)`/gu
const SIGN = String.raw`\p{ExtPict}\ufe0f?\p{EMod}?`
const EMOJI_ONLY = new RegExp(String.raw`^(?:(?:\p{RI}{2}|${SIGN}(?:\u200d${SIGN})*)\s*){1,6}$`, 'u')

/** What stands for a body that leaves no mark on the screen. */
export const UNSEEN = '(empty message)'

/** What the signs in a message mean: code between backquotes, and web addresses. All else is text. */
export function blocksOf(body: string): Block[] {
  const blocks: Block[] = []
  let end = 0
  const addText = (until: number) => {
    const text = body.slice(end, until)
    if (text.trim() !== '') blocks.push({ at: end, kind: 'text', pieces: piecesOf(text.replace(/\n$/u, '')) })
  }
  for (;;) {
    const fence = find(FENCE, body, end)
    const close = fence && find(FENCE_END, body, fence.end)
    // where one fence is not closed, none behind it is
    if (!fence || !close) break
    addText(fence.at)
    blocks.push({ at: fence.at, kind: 'code', text: body.slice(fence.end, close.at) })
    end = close.end
  }
  addText(body.length)
  return blocks
}

/** Where the first match begins and ends that is not before this place. */
function find(pattern: RegExp, text: string, from: number): { at: number; end: number } | undefined {
  pattern.lastIndex = from
  const match = pattern.exec(text)
  return match ? { at: match.index, end: match.index + match[0].length } : undefined
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
