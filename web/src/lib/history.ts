import type { Message } from './protocol'

export type Page = { messages: Message[]; next: number | null }
export type History = (room: string, before?: number) => Promise<Page>

const LIMIT = 50
const TIMEOUT_MS = 10_000

/** A page of a room's history, the newest by default, oldest message first. */
export const fetchHistory: History = async (room, before) => {
  const query = new URLSearchParams({ limit: `${LIMIT}` })
  if (before !== undefined) query.set('before', `${before}`)
  const response = await fetch(`/v1/rooms/${encodeURIComponent(room)}/messages?${query}`, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  })
  if (!response.ok) throw new Error(`history answered ${response.status}`)
  const page: Page = await response.json()
  return { messages: page.messages.toSorted((a, b) => a.seq - b.seq), next: page.next ?? null }
}
