import { memo, useEffect, useState } from 'react'
import { useChat } from '@/state/chat'
import { Avatar, hueStyle } from '@/ui/avatar'
import { Button } from '@/ui/button'
import { fullTime, timeOfDay } from '@/ui/clock'
import { cn } from '@/ui/cn'
import { CheckIcon, ClockIcon, WarningIcon } from '@/ui/icons'
import { shownName } from '@/ui/visible'
import { Body } from './body'
import { focusComposer } from './focus'
import type { Row } from './rows'

type MessageItemProps = { row: Row; onInspect: (key: string) => void }

/** One message. The first of a group names its author, the others show their time on demand. */
export const MessageItem = memo(function MessageItem({ row, onInspect }: MessageItemProps) {
  const { author, body, isOwn, isFirst, at, state } = row
  return (
    <div
      data-key={row.key}
      data-seq={row.seq}
      data-state={state}
      className="group/row grid grid-cols-[2.25rem_1fr] gap-x-3 px-4 pt-0.5 hover:bg-muted/60 sm:px-6"
    >
      {isFirst ? (
        <Avatar id={author.id} name={author.name} className="mt-0.5 size-9" />
      ) : (
        <Time at={at} className="mt-1 justify-self-end text-[0.6875rem] opacity-0 group-hover/row:opacity-100" />
      )}
      <div className="min-w-0 pb-0.5">
        {isFirst && <Heading row={row} />}
        <div className="flex items-end gap-0.5">
          <div
            data-testid="body"
            className={cn(
              'min-w-0',
              isOwn && 'rounded-md bg-accent px-2.5 py-1',
              isOwn && isFirst && 'mt-1',
              state === 'pending' && 'text-muted-foreground',
            )}
          >
            <Body text={body} />
          </div>
          {isOwn && <Mark row={row} onInspect={onInspect} />}
        </div>
        {state === 'failed' && <Failure row={row} />}
      </div>
    </div>
  )
})

function Heading({ row: { author, isOwn, at } }: { row: Row }) {
  return (
    <p className="flex min-w-0 items-baseline gap-2">
      <span style={hueStyle(author.id)} className="author-ink truncate text-[0.9375rem] font-semibold" dir="auto">
        {shownName(author.name)}
      </span>
      {isOwn && <span className="text-xs text-muted-foreground">you</span>}
      <Time at={at} className="shrink-0 text-xs" />
    </p>
  )
}

function Time({ at, className }: { at: number; className: string }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={fullTime(at)} className={cn('whitespace-nowrap text-muted-foreground tabular-nums', className)}>
      {timeOfDay(at)}
    </time>
  )
}

const MARKS = {
  pending: { Icon: ClockIcon, label: 'Sending…', className: 'text-muted-foreground' },
  failed: { Icon: WarningIcon, label: 'Not sent', className: 'text-destructive' },
}

/** How far one’s own message is. Behind that of a sent one is the way that it took. */
function Mark({ row: { key, state }, onInspect }: MessageItemProps) {
  if (state === 'sent') {
    return (
      <button
        type="button"
        title="Sent. Show details"
        onClick={() => onInspect(key)}
        className="inline-flex h-8 w-7 shrink-0 items-center justify-center rounded-md text-primary hover:bg-accent"
      >
        <CheckIcon className="size-3.5" />
        <span className="sr-only">Sent. Show details</span>
      </button>
    )
  }
  const { Icon, label, className } = MARKS[state]
  return (
    <span className={cn('inline-flex h-8 min-w-7 shrink-0 items-center justify-center gap-1 px-1', className)} title={label}>
      <Icon className="size-3.5" />
      {state === 'pending' ? <Sending /> : <span className="sr-only">{label}</span>}
    </span>
  )
}

/** What is sent at once needs no word. */
const CALM_MS = 2000

function Sending() {
  const [isLong, setLong] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), CALM_MS)
    return () => clearTimeout(timer)
  }, [])
  return <span className={isLong ? 'text-xs' : 'sr-only'}>Sending…</span>
}

function Failure({ row: { id, fault } }: { row: Row }) {
  const { client } = useChat()
  const retry = () => {
    focusComposer()
    client.retry(id)
  }
  const discard = () => {
    focusComposer()
    client.discard(id)
  }
  return (
    <p className="mt-1 flex flex-wrap items-center gap-x-3 text-[0.8125rem] text-destructive">
      <span>{fault}</span>
      <span className="flex gap-4">
        <Button variant="link" size="text" onClick={retry}>
          Retry
        </Button>
        <Button variant="quiet" size="text" onClick={discard}>
          Delete
        </Button>
      </span>
    </p>
  )
}
