import { isMessage } from './frame.ts'
import type { HistoryPage } from './protocol.ts'

/**
 * A part of a room's history, the oldest message first. With `next` as `before` comes what was said earlier.
 *
 * `seq` is the highest place that the instance knows which answered. Older servers do not say.
 */
export type Page = Omit<HistoryPage, 'seq'> & Partial<Pick<HistoryPage, 'seq'>>
/** Which part: only what has a `seq` between these, and how many messages at most. */
export type Range = { before?: number; after?: number; limit?: number }
export type History = (room: string, range?: Range) => Promise<Page>

const LIMIT = 50
const TIMEOUT_MS = 10_000
/** How often an instance is asked again that cannot answer now, and how long each pause may be. */
const PAUSES = 3
const LONGEST_PAUSE_MS = 5000
/** How long an instance that is behind gets to catch up, time after time. */
const RESPITES_MS = [50, 100, 200, 400, 800, 1600]

/** The history that the server at this address keeps, the newest page by default. The address ends in a slash. */
export function httpHistory(base: URL): History {
  return async (room, range = {}) => {
    const address = new URL(`v1/rooms/${encodeURIComponent(room)}/messages`, base)
    for (const [name, value] of Object.entries({ limit: LIMIT, ...range })) address.searchParams.set(name, `${value}`)
    const response = await request(address)
    if (!response.ok) throw new Error(`history answered ${response.status}`)
    const { messages, next, ...rest }: Page = await response.json()
    return { ...rest, messages: messages.filter(isMessage).toSorted((a, b) => a.seq - b.seq), next: next ?? null }
  }
}

/** Asks. While the database is away or behind, the answer is 503 and says when to ask again. */
async function request(address: URL, pauses = PAUSES): Promise<Response> {
  const response = await fetch(address, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  if (response.status !== 503 || pauses === 0 || Number.isNaN(seconds)) return response
  await new Promise((resolve) => setTimeout(resolve, Math.min(seconds * 1000, LONGEST_PAUSE_MS)))
  return request(address, pauses - 1)
}

/** Asks until an instance answers that knows the log up to the place that is due. Fails if none does for some seconds. */
export async function completeHistory(ask: () => Promise<Page>, due: () => number, [respite, ...later] = RESPITES_MS): Promise<Page> {
  const page = await ask()
  if ((page.seq ?? Infinity) >= due()) return page
  if (respite === undefined) throw new Error(`the history is known up to ${page.seq}, not up to ${due()}`)
  await new Promise((resolve) => setTimeout(resolve, respite))
  return completeHistory(ask, due, later)
}
