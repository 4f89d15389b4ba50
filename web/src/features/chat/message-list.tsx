import { Suspense, useEffect, useMemo, useState, type ReactNode } from 'react'
import type { RoomView } from 'hubbub-client'
import { Journey } from '@/features/journey'
import { useChat, useSnapshot } from '@/state/chat'
import { Boundary } from '@/ui/boundary'
import { Button } from '@/ui/button'
import { dayName, useNow } from '@/ui/clock'
import { ArrowDownIcon } from '@/ui/icons'
import { focusComposer, LOG_ID } from './focus'
import { EmptyList, ListHead } from './list-head'
import { MessageItem } from './message-item'
import { Rows, type Row } from './rows'
import { useScroll } from './scroll'

const MINUTE_MS = 60_000
/** How far the name of a day reaches into its row. */
const RULE_PX = 24

/** The messages of a room. Only the rows in view are in the page. */
export function MessageList({ room }: { room: RoomView }) {
  const me = useSnapshot((snapshot) => snapshot.me)
  const name = useSnapshot((snapshot) => snapshot.name ?? '')
  const [memory] = useState(() => new Rows())
  const rows = useMemo(() => memory.of(room, me, name), [memory, room, me, name])
  const { scroller, virtual, isAtEnd, toEnd, onScroll } = useScroll(rows, room)
  const isEmpty = rows.length === 0
  const first = virtual.getVirtualItemForOffset(virtual.scrollOffset ?? 0)
  const top = rows[first?.index ?? 0]
  const showsRule = top?.opensDay && (virtual.scrollOffset ?? 0) < (first?.start ?? 0) + RULE_PX
  const [inspectedKey, inspect] = useState<string>()
  const inspected = inspectedKey === undefined ? undefined : rows.find(({ key }) => key === inspectedKey)
  useReading(isAtEnd === true)
  const goToEnd = () => {
    focusComposer()
    toEnd()
  }

  return (
    <div className="relative min-h-0 flex-1">
      <div
        ref={scroller}
        id={LOG_ID}
        onScroll={onScroll}
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Messages in ${room.name}`}
        className="scroll-thin flex h-full flex-col overflow-x-hidden overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:-outline-offset-2"
      >
        {isEmpty && <EmptyList room={room} />}
        <div
          hidden={isEmpty}
          className="relative mx-auto mt-auto w-full max-w-3xl shrink-0"
          style={{ height: virtual.getTotalSize() }}
        >
          {!isEmpty && <ListHead room={room} />}
          {virtual.getVirtualItems().map(({ index, key, start }) => {
            const row = rows[index]
            return (
              row && (
                <div
                  key={key}
                  ref={virtual.measureElement}
                  data-index={index}
                  className="absolute inset-x-0 top-0"
                  style={{ transform: `translateY(${start}px)` }}
                >
                  <Boundary fallback={<BrokenRow />}>
                    <RowView row={row} onInspect={inspect} />
                  </Boundary>
                </div>
              )
            )
          })}
        </div>
      </div>
      <Boundary key={top?.key} fallback={null}>
        {isAtEnd === false && top && !showsRule && <DayPill at={top.at} />}
      </Boundary>
      {isAtEnd === false && <ToEnd unread={room.unread} onClick={goToEnd} />}
      <Suspense>{inspected && <Journey message={inspected} onClose={() => inspect(undefined)} />}</Suspense>
    </div>
  )
}

function RowView({ row, onInspect }: { row: Row; onInspect: (key: string) => void }) {
  return (
    <>
      {row.opensDay && <DayRule at={row.at} />}
      {row.followsGap && (
        <Rule label="Messages may be missing here" className="text-muted-foreground before:bg-border after:bg-border">
          Messages may be missing here
        </Rule>
      )}
      {row.isDivided && (
        <Rule label="New" className="text-highlight-ink before:bg-highlight/60 after:bg-highlight/60">
          New
        </Rule>
      )}
      {row.isFirst && <div className="h-3.5" />}
      <MessageItem row={row} onInspect={onInspect} />
    </>
  )
}

function BrokenRow() {
  return <p className="px-4 py-2 pl-16 text-sm text-muted-foreground italic sm:px-6 sm:pl-18">This message can’t be shown</p>
}

function DayRule({ at }: { at: number }) {
  const day = dayName(at, useNow(MINUTE_MS))
  return (
    <Rule label={day} className="text-muted-foreground before:bg-border after:bg-border">
      {day}
    </Rule>
  )
}

function Rule({ label, className, children }: { label: string; className: string; children: ReactNode }) {
  return (
    <div
      role="separator"
      aria-label={label}
      className={`flex items-center gap-3 px-4 pt-6 pb-1 text-xs font-semibold before:h-px before:flex-1 after:h-px after:flex-1 sm:px-6 ${className}`}
    >
      {children}
    </div>
  )
}

/** The day of the topmost row in view, while its own rule is not. */
function DayPill({ at }: { at: number }) {
  return (
    <div data-testid="day" aria-hidden="true" className="pointer-events-none absolute inset-x-0 top-2 flex justify-center">
      <span className="rounded-full border border-border bg-popover/90 px-3 py-1 text-xs font-semibold text-muted-foreground shadow-sm backdrop-blur-sm">
        {dayName(at, useNow(MINUTE_MS))}
      </span>
    </div>
  )
}

function ToEnd({ unread, onClick }: { unread: number; onClick: () => void }) {
  return (
    <div className="pointer-events-none absolute inset-x-0 bottom-3 flex justify-center">
      <Button
        variant={unread > 0 ? 'default' : 'outline'}
        aria-label={unread > 0 ? undefined : 'Jump to latest'}
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

/** Reports to the chat whether the person sees the newest message. */
function useReading(isAtEnd: boolean) {
  const { client } = useChat()
  useEffect(() => {
    const update = () => client.setReading(isAtEnd && document.visibilityState === 'visible')
    update()
    document.addEventListener('visibilitychange', update)
    return () => document.removeEventListener('visibilitychange', update)
  }, [client, isAtEnd])
}
