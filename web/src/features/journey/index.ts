/** The way of one's own message from this browser into the log and back. */
import { lazily } from '@/state/lazily'

export const Journey = lazily(async () => (await import('./journey')).Journey)
