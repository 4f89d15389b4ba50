import type { Page } from '@playwright/test'

/** A message of which the server shall tell. */
export type Said = { type: 'message'; seq: number; room: string; id: string; from: { id: string; name: string }; body: string; at: number }

const PAGE = 50
const VOICES = ['Ada', 'Mika', 'Jo'].map((name) => ({ id: `id-of-${name}`, name }))
const WORDS = 'one log one number one order and all the rest follows from it'.split(' ')
/** Above every place that a real log gives out. */
const LIVE_SEQ = 9_000_000_000_000_000

/** The nth message of a room that never existed: long and short ones, three in a row by one voice. */
export function said(n: number, room: string, fields: Partial<Said> = {}): Said {
  const from = VOICES[Math.floor(n / 3) % VOICES.length] ?? { id: '', name: '' }
  const body = `${n} ${`${WORDS.slice(0, 1 + ((n * 7) % WORDS.length)).join(' ')} `.repeat(1 + (n % 5))}`.trim()
  return { type: 'message', seq: n + 1, room, id: `past-${n}`, from, body, at: Date.now() - 1000, ...fields }
}

/** A message that comes in live. */
export function news(n: number, room: string, fields: Partial<Said> = {}): Said {
  return { ...said(n, room), seq: LIVE_SEQ + n, id: `news-${n}`, ...fields }
}

/** Gives a room this past, however much of it at first and the rest by pages. */
export async function tellPast(page: Page, room: string, past: readonly Said[], first = PAGE) {
  await page.route(`**/v1/rooms/${room}/messages?*`, async (route) => {
    const before = new URL(route.request().url()).searchParams.get('before')
    const older = past.filter(({ seq }) => before === null || seq < Number(before))
    const messages = older.slice(before === null ? -first : -PAGE)
    const next = older.length > messages.length ? (messages[0]?.seq ?? null) : null
    await route.fulfill({ json: { messages, next } })
  })
}
