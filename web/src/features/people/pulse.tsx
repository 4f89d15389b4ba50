import { useMemo } from 'react'
import type { RoomView } from 'hubbub-client'
import { useNow } from '@/ui/clock'

const MINUTES = 30
const MINUTE_MS = 60_000
const HEIGHT = 32
const WIDTH = 6

function minutesAgo(at: number, now: number): number {
  return Math.floor((now - at) / MINUTE_MS)
}

/** How many messages came in each of the last minutes, the oldest first. */
function byMinute(messages: RoomView['messages'], now: number): number[] {
  const counts = Array.from({ length: MINUTES }, () => 0)
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const minute = MINUTES - 1 - minutesAgo(messages[index]?.at ?? 0, now)
    if (minute < 0) break
    const slot = Math.min(minute, MINUTES - 1)
    counts[slot] = (counts[slot] ?? 0) + 1
  }
  return counts
}

function summary(total: number, isPart: boolean): string {
  if (isPart) return total === 0 ? '…' : `${total}+ messages`
  if (total === 0) return 'No messages'
  return total === 1 ? '1 message' : `${total} messages`
}

/** How lively a room is: a voice for every minute, as in the logo. */
export function Pulse({ room: { messages, hasOlder } }: { room: RoomView }) {
  const now = useNow(MINUTE_MS / 6)
  const counts = useMemo(() => byMinute(messages, now), [messages, now])
  const total = counts.reduce((sum, count) => sum + count, 0)
  const most = Math.max(4, ...counts)
  const age = minutesAgo(messages[0]?.at ?? now, now)
  // some of what was said in these minutes may not be loaded
  const isPart = hasOlder && age < MINUTES
  const from = isPart ? MINUTES - 1 - age : 0
  return (
    <section>
      <h2 className="text-[0.8125rem] font-semibold">Activity, last {MINUTES} minutes</h2>
      <svg aria-hidden="true" viewBox={`0 0 ${MINUTES * WIDTH} ${HEIGHT}`} strokeWidth="3" strokeLinecap="round" className="mt-1 w-full">
        {counts.map((count, minute) => (
          <path
            // oxlint-disable-next-line react/no-array-index-key -- a minute is its place
            key={minute}
            d={`M${(minute + 0.5) * WIDTH} ${HEIGHT - 2}v${-Math.round((count / most) * (HEIGHT - 5)) - 0.01}`}
            className={minute < from ? 'stroke-transparent' : count === 0 ? 'stroke-sidebar-border' : minute === MINUTES - 1 ? 'stroke-highlight' : 'stroke-primary'}
          />
        ))}
      </svg>
      <p className="mt-1.5 text-xs text-muted-foreground tabular-nums">
        {summary(total, isPart)}
      </p>
    </section>
  )
}
