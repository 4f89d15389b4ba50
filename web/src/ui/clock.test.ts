import { expect, test } from 'vitest'
import { isSameDay } from './clock'

const NOON = new Date(2026, 5, 1, 12).getTime()
const BEYOND_ALL_DAYS = 9e15

test('a time of no day leaves the other days as they are', () => {
  expect(isSameDay(NOON, NOON + 1)).toBe(true)
  expect(isSameDay(BEYOND_ALL_DAYS, BEYOND_ALL_DAYS)).toBe(false)
  expect(isSameDay(NOON, NOON + 1)).toBe(true)
})
