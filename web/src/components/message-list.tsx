import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from 'react'
import { useChat, useSnapshot } from '@/app/chat'
import { dayName, useNow } from '@/app/clock'
import { rowsOf, type Row } from '@/app/rows'
import type { RoomView } from '@/lib/room'
import { ArrowDownIcon } from './icons'
import { MessageItem } from './message-item'
import { Button } from './ui/button'
import { Skeleton } from './ui/skeleton'

/** How near to the end counts as being there. */
const END_PX = 48
const MINUTE_MS = 60_000

/** What was said in a room. It stays at the end only when the person is there. */
export function MessageList({ room }: { room: RoomView }) {
  const me = useSnapshot((snapshot) => snapshot.me)
  const name = useSnapshot((snapshot) => snapshot.name ?? '')
  const rows = useMemo(() => rowsOf(room, me, name), [room, me, name])
  const { scroller, content, isAtEnd, toEnd, onScroll } = useEnd(rows)
  useReading(isAtEnd)
  useShowOwn(room, toEnd)

  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={scroller}
        onScroll={onScroll}
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Messages in ${room.name}`}
        className="scroll-thin h-full overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:-outline-offset-2"
      >
        <div ref={content} className="mx-auto flex min-h-full max-w-3xl flex-col justify-end pt-4 pb-3">
          <Beginning room={room} />
          {rows.map((row) => (
            <RowView key={row.key} row={row} />
          ))}
        </div>
      </div>
      {!isAtEnd && <ToEnd unread={room.unread} onClick={toEnd} />}
    </div>
  )
}

function RowView({ row }: { row: Row }) {
  switch (row.kind) {
    case 'day':
      return <DayRule rowKey={row.key} at={row.at} />
    case 'new':
      return (
        <Rule rowKey={row.key} className="text-highlight-ink before:bg-highlight/60 after:bg-highlight/60">
          New
        </Rule>
      )
    case 'message':
      return <MessageItem row={row} />
  }
}

function DayRule({ rowKey, at }: { rowKey: string; at: number }) {
  const now = useNow(MINUTE_MS)
  return (
    <Rule rowKey={rowKey} className="text-muted-foreground before:bg-border after:bg-border">
      {dayName(at, now)}
    </Rule>
  )
}

function Rule({ rowKey, className, children }: { rowKey: string; className: string; children: ReactNode }) {
  return (
    <div
      data-key={rowKey}
      className={`mt-5 mb-1 flex items-center gap-3 px-4 text-xs font-semibold before:h-px before:flex-1 after:h-px after:flex-1 sm:px-6 ${className}`}
    >
      {children}
    </div>
  )
}

/** What stands above the oldest message there is. */
function Beginning({ room }: { room: RoomView }) {
  const { client } = useChat()
  const { name, history, hasOlder, messages, outgoing } = room
  const isEmpty = messages.length === 0 && outgoing.length === 0
  return (
    <>
      {history === 'failed' && (
        <Notice>
          Earlier messages could not be loaded.
          <Button variant="outline" size="sm" onClick={() => void client.loadOlder(name)}>
            Try again
          </Button>
        </Notice>
      )}
      {history === 'loaded' && hasOlder && (
        <Notice>
          <Button variant="outline" size="sm" onClick={() => void client.loadOlder(name)}>
            Load older
          </Button>
        </Notice>
      )}
      {(history === 'loading' || history === 'unloaded') && isEmpty && <Placeholder />}
      {history === 'loading' && !isEmpty && <Notice>Loading…</Notice>}
      {history === 'loaded' && isEmpty && <Empty name={name} />}
    </>
  )
}

function Notice({ children }: { children: ReactNode }) {
  return (
    <div className="flex min-h-11 items-center justify-center gap-3 px-6 text-center text-[0.8125rem] text-muted-foreground">
      {children}
    </div>
  )
}

function Empty({ name }: { name: string }) {
  return (
    <div className="m-auto max-w-sm px-6 py-10 text-center">
      <p className="font-display text-2xl font-semibold tracking-tight">It is quiet in here.</p>
      <p className="mt-2 text-[0.9375rem] text-muted-foreground">
        Say the first word, or share the address of this page: whoever opens it lands in{' '}
        <span className="font-medium text-foreground">#{name}</span>.
      </p>
    </div>
  )
}

const PLACEHOLDER_WIDTHS = ['w-2/3', 'w-1/2', 'w-3/4', 'w-2/5']

function Placeholder() {
  return (
    <div className="space-y-6 px-4 pb-4 sm:px-6" aria-hidden="true">
      {PLACEHOLDER_WIDTHS.map((width) => (
        <div key={width} className="flex gap-3">
          <Skeleton className="size-9" />
          <div className="flex-1 space-y-2 pt-1">
            <Skeleton className="h-3 w-24" />
            <Skeleton className={`h-4 ${width}`} />
          </div>
        </div>
      ))}
    </div>
  )
}

function ToEnd({ unread, onClick }: { unread: number; onClick: () => void }) {
  return (
    <div className="pointer-events-none absolute inset-x-0 bottom-3 flex justify-center">
      <Button
        variant={unread > 0 ? 'default' : 'outline'}
        aria-label={unread > 0 ? undefined : 'To the end'}
        shape="pill"
        className="pointer-events-auto animate-arrive shadow-lg"
        onClick={onClick}
      >
        <ArrowDownIcon className="size-4" />
        {unread > 0 && `${unread} new`}
      </Button>
    </div>
  )
}

/** Keeps the end in view while it is in view, and otherwise the row that is read in its place. */
function useEnd(rows: readonly Row[]) {
  const scroller = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const sticks = useRef(true)
  const anchor = useRef<{ row: HTMLElement; top: number }>(undefined)
  const [isAtEnd, setAtEnd] = useState(true)

  const toEnd = useCallback(() => {
    sticks.current = true
    setAtEnd(true)
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight })
  }, [])

  const dropAnchor = useCallback(() => {
    const row = sticks.current ? undefined : firstVisible(scroller.current)
    anchor.current = row && { row, top: row.offsetTop }
  }, [])

  const onScroll = useCallback(() => {
    const element = scroller.current
    if (!element) return
    sticks.current = element.scrollHeight - element.scrollTop - element.clientHeight < END_PX
    setAtEnd(sticks.current)
    dropAnchor()
  }, [dropAnchor])

  useLayoutEffect(() => {
    const { row, top } = anchor.current ?? {}
    if (sticks.current) toEnd()
    else if (row?.isConnected && top !== undefined) scroller.current?.scrollBy({ top: row.offsetTop - top })
    dropAnchor()
  }, [rows, toEnd, dropAnchor])

  useEffect(() => {
    const observer = new ResizeObserver(() => {
      if (sticks.current) toEnd()
    })
    for (const { current } of [scroller, content]) if (current) observer.observe(current)
    return () => observer.disconnect()
  }, [toEnd])

  return { scroller, content, isAtEnd, toEnd, onScroll }
}

function firstVisible(scroller: HTMLElement | null): HTMLElement | undefined {
  const rows = scroller?.querySelectorAll<HTMLElement>('[data-seq]') ?? []
  return [...rows].find((row) => row.offsetTop + row.offsetHeight > (scroller?.scrollTop ?? 0))
}

/** Whoever sends something wants to see it. */
function useShowOwn({ outgoing }: RoomView, toEnd: () => void) {
  const shownAt = useRef(0)
  const writtenAt = outgoing.at(-1)?.at ?? 0
  useEffect(() => {
    if (writtenAt > shownAt.current) toEnd()
    shownAt.current = Math.max(shownAt.current, writtenAt)
  }, [writtenAt, toEnd])
}

/** Tells the client whether the person sees the newest message. */
function useReading(isAtEnd: boolean) {
  const { client } = useChat()
  useEffect(() => {
    const tell = () => client.setReading(isAtEnd && document.visibilityState === 'visible')
    tell()
    document.addEventListener('visibilitychange', tell)
    return () => document.removeEventListener('visibilitychange', tell)
  }, [client, isAtEnd])
}
