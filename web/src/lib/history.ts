import type { Message } from './protocol.ts'

/** A part of a room's history, the oldest message first. With `next` as `before` comes what was said earlier. */
export type Page = { messages: Message[]; next: number | null }
/** Which part: only what has a `seq` between these, and how many messages at most. */
export type Range = { before?: number; after?: number; limit?: number }
export type History = (room: string, range?: Range) => Promise<Page>

const LIMIT = 50
const TIMEOUT_MS = 10_000

/** The history that the server at this address keeps, the newest page by default. */
export function httpHistory(base: URL): History {
  return async (room, range = {}) => {
    const address = new URL(`/v1/rooms/${encodeURIComponent(room)}/messages`, base)
    for (const [name, value] of Object.entries({ limit: LIMIT, ...range })) address.searchParams.set(name, `${value}`)
    const response = await fetch(address, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok) throw new Error(`history answered ${response.status}`)
    const page: Page = await response.json()
    return { messages: page.messages.toSorted((a, b) => a.seq - b.seq), next: page.next ?? null }
  }
}
