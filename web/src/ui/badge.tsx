/** A count that is shown as at most 99+. */
export function shortCount(count: number): string {
  return count > 99 ? '99+' : `${count}`
}

/** A count in a pill. `what` says to screen readers what it counts. */
export function CountBadge({ count, what }: { count: number; what: string }) {
  return (
    <span className="inline-flex h-5 min-w-5 items-center justify-center rounded-full bg-highlight px-1.5 text-xs font-semibold text-highlight-foreground tabular-nums">
      {shortCount(count)}
      <span className="sr-only"> {what}</span>
    </span>
  )
}
