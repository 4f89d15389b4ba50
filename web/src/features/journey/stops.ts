import type { Hops } from 'hubbub-client'

/** Where something happens to a message. */
export const PLACES = ['browser', 'instance', 'log'] as const
export type Place = (typeof PLACES)[number]

/** A moment on the way of a message: how many milliseconds after it was sent, by this browser's clock. */
export type Stop = { name: 'sent' | 'accepted' | 'logged' | 'confirmed' | 'shown'; place: Place; after: number }

/**
 * The stops of a message that are known, in their order.
 *
 * The clocks of browser and server differ by an unknown amount. As NTP does, the way there is taken to be as long as the
 * way back.
 */
export function stopsOf({ sentAt, acceptedAt, loggedAt, ackedAt, shownAt }: Hops): Stop[] {
  if (sentAt === undefined) return []
  const stops: Stop[] = [{ name: 'sent', place: 'browser', after: 0 }]
  if (acceptedAt !== undefined && loggedAt !== undefined && ackedAt !== undefined) {
    const round = ackedAt - sentAt
    const inside = Math.min(Math.max(0, loggedAt - acceptedAt), round)
    const accepted = (round - inside) / 2
    stops.push({ name: 'accepted', place: 'instance', after: accepted })
    stops.push({ name: 'logged', place: 'log', after: accepted + inside })
    stops.push({ name: 'confirmed', place: 'browser', after: round })
  }
  if (shownAt !== undefined) stops.push({ name: 'shown', place: 'browser', after: shownAt - sentAt })
  return stops.toSorted((a, b) => a.after - b.after)
}
