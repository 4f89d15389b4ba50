/** Part of a text, and where in it that begins. */
export type Piece = { at: number; text: string; href?: string }

/** No address goes on behind a sign that is not seen or that turns the direction of what follows. */
const ADDRESS = /https?:\/\/[^\s<>"`\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/giu
/** Signs of the sentence around an address, if they are its last ones. */
const TRAILING = '.,:;!?\'»”’'

/** Cuts a text into plain pieces and web addresses. Nothing but http and https counts as an address. */
export function splitLinks(text: string): Piece[] {
  const pieces: Piece[] = []
  let end = 0
  for (const { 0: match, index } of text.matchAll(ADDRESS)) {
    const address = withoutTrailing(match)
    if (!URL.canParse(address)) continue
    if (index > end) pieces.push({ at: end, text: text.slice(end, index) })
    pieces.push({ at: index, text: address, href: new URL(address).href })
    end = index + address.length
  }
  if (end < text.length) pieces.push({ at: end, text: text.slice(end) })
  return pieces
}

/** Drops the punctuation of the sentence around an address, and a bracket that was opened before it. */
function withoutTrailing(match: string): string {
  const trailing = match.includes('(') ? TRAILING : `${TRAILING})`
  let end = match.length
  while (end > 0 && trailing.includes(match.charAt(end - 1))) end -= 1
  return match.slice(0, end)
}
