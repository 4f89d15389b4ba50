/** The way of one's own message from this browser into the log and back. */
import { lazyComponent } from '@/state/lazy-component'

export const Journey = lazyComponent(async () => (await import('./journey')).Journey)
