import { expect, test } from 'vitest'
import { stopsOf } from './stops'

const HOPS = { sentAt: 1000, instance: 'a', acceptedAt: 500_010, loggedAt: 500_014, ackedAt: 1024, shownAt: 1026 }

function told(hops: Parameters<typeof stopsOf>[0]) {
  return stopsOf(hops).map(({ name, after }) => `${name} ${after}`)
}

test('the way there is as long as the way back, however far apart the clocks are', () => {
  expect(told(HOPS)).toEqual(['sent 0', 'accepted 10', 'logged 14', 'confirmed 24', 'shown 26'])
})

test('a message that is seen before its ack is shown before it', () => {
  expect(told({ ...HOPS, shownAt: 1020 }).slice(-2)).toEqual(['shown 20', 'confirmed 24'])
})

test('no stop is outside the time that the whole way took', () => {
  expect(told({ ...HOPS, acceptedAt: 500_000, loggedAt: 500_100 })).toEqual([
    'sent 0',
    'accepted 0',
    'logged 24',
    'confirmed 24',
    'shown 26',
  ])
})

test('of a message that was sent from elsewhere there is nothing to show', () => {
  expect(told({})).toEqual([])
})
