import { useEffect, useState } from 'react'

/** The time of day, renewed at this interval. */
export function useNow(intervalMs: number): number {
  return useRenewed(Date.now, intervalMs, true)
}

/** The time of `performance.now()`, renewed at this interval while someone wants to know: for how long something takes, whatever is done to the clock. */
export function useTicks(intervalMs: number, isWanted = true): number {
  return useRenewed(ticks, intervalMs, isWanted)
}

function ticks(): number {
  return performance.now()
}

function useRenewed(read: () => number, intervalMs: number, isWanted: boolean): number {
  const [now, setNow] = useState(read)
  useEffect(() => {
    if (!isWanted) return
    const renew = () => setNow(read())
    renew()
    const timer = setInterval(renew, intervalMs)
    return () => clearInterval(timer)
  }, [read, intervalMs, isWanted])
  return now
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' })
const DAY = new Intl.DateTimeFormat('en-GB', { weekday: 'long', day: 'numeric', month: 'long' })
const DAY_OF_YEAR = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric' })
const FULL = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'medium' })

export function timeOfDay(at: number): string {
  return TIME.format(at)
}

export function fullTime(at: number): string {
  return FULL.format(at)
}

type Day = { from: number; to: number }

function dayOf(at: number): Day {
  const day = new Date(at)
  const from = day.setHours(0, 0, 0, 0)
  return { from, to: day.setDate(day.getDate() + 1) }
}

function isIn({ from, to }: Day, at: number): boolean {
  return at >= from && at < to
}

/** The day last asked for: lists ask for the same one again and again. */
let known: Day = { from: 0, to: 0 }

export function isSameDay(a: number, b: number): boolean {
  if (!isIn(known, a)) known = dayOf(a)
  return isIn(known, b)
}

const AGO = new Intl.RelativeTimeFormat('en-GB', { style: 'narrow' })
const AGO_STEPS = [
  ['day', 24 * 60 * 60_000],
  ['hour', 60 * 60_000],
  ['minute', 60_000],
] as const

/** How long ago that was, in a word or two. */
export function ago(at: number, now: number): string {
  const passed = now - at
  for (const [unit, ms] of AGO_STEPS) if (passed >= ms) return AGO.format(-Math.floor(passed / ms), unit)
  return 'just now'
}

export function dayName(at: number, now: number): string {
  if (isSameDay(at, now)) return 'Today'
  const yesterday = new Date(now)
  yesterday.setDate(yesterday.getDate() - 1)
  if (isSameDay(at, yesterday.getTime())) return 'Yesterday'
  const isThisYear = new Date(at).getFullYear() === new Date(now).getFullYear()
  return (isThisYear ? DAY : DAY_OF_YEAR).format(at)
}
