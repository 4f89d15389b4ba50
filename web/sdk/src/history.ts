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
/** How long an instance that is behind gets to catch up, time after time. */
const RESPITES_MS = [50, 100, 200, 400, 800, 1600]

/** The history that the server at this address keeps, the newest page by default. The address ends in a slash. */
export function httpHistory(base: URL): History {
  return async (room, range = {}) => {
    const address = new URL(`v1/rooms/${encodeURIComponent(room)}/messages`, base)
    for (const [name, value] of Object.entries({ limit: LIMIT, ...range })) address.searchParams.set(name, `${value}`)
    const response = await fetch(address, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok) throw new Error(`history answered ${response.status}`)
    const { messages, next, ...rest }: Page = await response.json()
    return { ...rest, messages: messages.filter(isMessage).toSorted((a, b) => a.seq - b.seq), next: next ?? null }
  }
}

/** Asks until an instance answers that knows the log up to the place that is due. Fails if none does for some seconds. */
export async function completeHistory(ask: () => Promise<Page>, due: () => number, [respite, ...later] = RESPITES_MS): Promise<Page> {
  const page = await ask()
  if ((page.seq ?? Infinity) >= due()) return page
  if (respite === undefined) throw new Error(`the history is known up to ${page.seq}, not up to ${due()}`)
  await new Promise((resolve) => setTimeout(resolve, respite))
  return completeHistory(ask, due, later)
}
