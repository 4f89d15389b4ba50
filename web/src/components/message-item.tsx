import { memo } from 'react'
import { useChat } from '@/app/chat'
import { fullTime, timeOfDay } from '@/app/clock'
import type { MessageRow } from '@/app/rows'
import { splitLinks } from '@/lib/links'
import { Avatar, hueStyle } from './avatar'
import { cn } from './cn'
import { CheckIcon, ClockIcon, WarningIcon } from './icons'
import { Button } from './ui/button'

const FIELDS = ['id', 'seq', 'author', 'isOwn', 'body', 'at', 'state', 'fault', 'isFirst'] as const

/** One message. The first of a group names its author, the others show their time on demand. */
export const MessageItem = memo(Item, (before, after) => isSame(before.row, after.row))

/** Rows are made anew with every change; most of them say what they said before. */
function isSame(before: MessageRow, after: MessageRow): boolean {
  return FIELDS.every((field) => before[field] === after[field])
}

function Item({ row }: { row: MessageRow }) {
  const { author, isOwn, isFirst, at, state } = row
  return (
    <div
      data-key={row.key}
      data-seq={row.seq}
      data-state={state}
      className={cn('group/row grid grid-cols-[2.25rem_1fr] gap-x-3 px-4 sm:px-6', isFirst ? 'mt-4' : 'mt-0.5')}
    >
      {isFirst ? (
        <Avatar id={author.id} name={author.name} className="mt-0.5 size-9" />
      ) : (
        <Time at={at} className="mt-1 justify-self-end text-[0.6875rem] opacity-0 group-hover/row:opacity-100" />
      )}
      <div className="min-w-0">
        {isFirst && (
          <p className="flex min-w-0 items-baseline gap-2">
            <span style={hueStyle(author.id)} className="author-ink truncate text-[0.9375rem] font-semibold" dir="auto">
              {author.name}
            </span>
            {isOwn && <span className="text-xs text-muted-foreground">you</span>}
            <Time at={at} className="shrink-0 text-xs" />
          </p>
        )}
        <div className="flex items-end gap-1.5">
          <p
            dir="auto"
            data-testid="body"
            className={cn(
              'min-w-0 text-base leading-normal wrap-anywhere whitespace-pre-wrap sm:text-[0.9375rem]',
              isOwn && 'rounded-md bg-accent px-2.5 py-1',
              isOwn && isFirst && 'mt-1',
              state === 'pending' && 'text-muted-foreground',
            )}
          >
            {splitLinks(row.body).map(({ at: start, text, href }) =>
              href === undefined ? (
                text
              ) : (
                <a
                  key={start}
                  href={href}
                  target="_blank"
                  rel="noopener noreferrer"
                  className="text-primary underline decoration-primary/40 underline-offset-2 hover:decoration-primary"
                >
                  {text}
                </a>
              ),
            )}
          </p>
          {isOwn && <Mark state={state} />}
        </div>
        {state === 'failed' && <Failure row={row} />}
      </div>
    </div>
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
  sent: { Icon: CheckIcon, label: 'Sent', className: 'text-primary' },
  pending: { Icon: ClockIcon, label: 'Sending', className: 'text-muted-foreground' },
  failed: { Icon: WarningIcon, label: 'Not sent', className: 'text-destructive' },
}

function Mark({ state }: { state: MessageRow['state'] }) {
  const { Icon, label, className } = MARKS[state]
  return (
    <span className={cn('mb-1.5 shrink-0', className)} title={label}>
      <Icon className="size-3.5" />
      <span className="sr-only">{label}</span>
    </span>
  )
}

function Failure({ row: { id, fault } }: { row: MessageRow }) {
  const { client } = useChat()
  return (
    <p role="alert" className="mt-1 flex flex-wrap items-center gap-x-3 text-[0.8125rem] text-destructive">
      <span>{fault}</span>
      <Button variant="link" size="text" onClick={() => client.retry(id)}>
        Retry
      </Button>
      <Button variant="quiet" size="text" onClick={() => client.discard(id)}>
        Delete
      </Button>
    </p>
  )
}
