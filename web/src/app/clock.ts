import { useEffect, useState } from 'react'

/** The time, renewed at this interval while someone wants to know. */
export function useNow(intervalMs: number, isWanted = true): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (!isWanted) return
    const renew = () => setNow(Date.now())
    renew()
    const timer = setInterval(renew, intervalMs)
    return () => clearInterval(timer)
  }, [intervalMs, isWanted])
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

export function isSameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString()
}

export function dayName(at: number, now: number): string {
  if (isSameDay(at, now)) return 'Today'
  const yesterday = new Date(now)
  yesterday.setDate(yesterday.getDate() - 1)
  if (isSameDay(at, yesterday.getTime())) return 'Yesterday'
  const isThisYear = new Date(at).getFullYear() === new Date(now).getFullYear()
  return (isThisYear ? DAY : DAY_OF_YEAR).format(at)
}
