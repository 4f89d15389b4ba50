import { useTicks } from '@/ui/clock'
import { useSnapshot } from './chat'

/** Shorter outages are not worth a word. */
const CALM_MS = 1000

/** Whether there is an outage, and whether it has lasted so long that one says so. */
export function useOutage(): 'none' | 'short' | 'long' {
  const since = useSnapshot((snapshot) => snapshot.outageSince)
  const now = useTicks(250, since !== undefined)
  if (since === undefined) return 'none'
  return now - since < CALM_MS ? 'short' : 'long'
}
