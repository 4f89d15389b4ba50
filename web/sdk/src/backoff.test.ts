import { expect, test } from 'vitest'
import { Backoff } from './backoff.ts'

test('the bound doubles from half a second to twenty seconds', () => {
  const backoff = new Backoff(() => 1)
  const delays = Array.from({ length: 8 }, () => backoff.next())
  expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000])
})

test('the delay is anything up to the bound', () => {
  expect(new Backoff(() => 0).next()).toBe(0)
  expect(new Backoff(() => 0.5).next()).toBe(250)
})

test('a reset begins anew', () => {
  const backoff = new Backoff(() => 1)
  backoff.next()
  backoff.next()
  backoff.reset()
  expect(backoff.next()).toBe(500)
})
