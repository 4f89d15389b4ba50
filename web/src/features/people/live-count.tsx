import { useId, useState, type ToggleEvent } from 'react'
import type { Snapshot } from 'hubbub-client'
import { useSnapshot } from '@/state/chat'
import { useOutage } from '@/state/outage'
import { cn } from '@/ui/cn'

const NUMBER = new Intl.NumberFormat('en-GB')

function plural(count: number, one: string): string {
  return `${NUMBER.format(count)} ${one}${count === 1 ? '' : 's'}`
}

/** How many are online, as long as that is known; behind it, the details of one's own connection. */
export function LiveCount() {
  const count = useSnapshot((snapshot) => snapshot.count)
  const isLive = useSnapshot(({ link }) => link.state === 'live')
  const isShort = useOutage() === 'short'
  const isOnTheWay = useSnapshot(({ link }) => link.state === 'connecting' || link.state === 'replaying')
  const id = useId()
  return (
    <>
      <button
        type="button"
        popoverTarget={id}
        data-testid="count"
        className="relative flex h-11 shrink-0 items-center gap-2 rounded-full px-3 text-sm text-muted-foreground transition-colors hover:bg-accent hover:text-accent-foreground sm:h-9"
      >
        <span
          data-live={isLive}
          className={cn(
            'size-2 rounded-full',
            isLive ? 'animate-breathe bg-primary forced-colors:bg-[CanvasText]' : 'border border-muted-foreground',
          )}
        />
        {count && (isLive || isShort) ? (
          <span className="tabular-nums">
            <strong className="font-semibold text-foreground">
              {count.settling && '~'}
              {NUMBER.format(count.connections)}
            </strong>
            {' online'}
          </span>
        ) : (
          <span>{isOnTheWay ? 'connecting' : 'not connected'}</span>
        )}
      </button>
      <Details id={id} />
    </>
  )
}

function Details({ id }: { id: string }) {
  const [isOpen, setOpen] = useState(false)
  return (
    <div
      id={id}
      popover="auto"
      onBeforeToggle={({ newState }: ToggleEvent) => setOpen(newState === 'open')}
      className="fixed inset-[calc(4.25rem+env(safe-area-inset-top))_max(1rem,env(safe-area-inset-right))_auto_auto] max-h-[calc(100dvh-5.25rem)] w-76 max-w-[calc(100vw-2rem)] rounded-xl border border-border bg-popover p-5 text-sm text-popover-foreground shadow-xl"
    >
      <h2 className="font-display text-base font-semibold tracking-tight">Connection details</h2>
      {isOpen && <Terms />}
    </div>
  )
}

function Terms() {
  const snapshot = useSnapshot((whole) => whole)
  return (
    <dl className="mt-3 grid grid-cols-[auto_1fr] gap-x-4 gap-y-1.5">
      {details(snapshot).map(([term, value]) => (
        <div key={term} className="contents">
          <dt className="text-muted-foreground">{term}</dt>
          <dd className="truncate text-right tabular-nums">{value}</dd>
        </div>
      ))}
    </dl>
  )
}

const LINK_NAMES = {
  idle: 'not connected',
  connecting: 'connecting',
  replaying: 'catching up',
  live: 'live',
  waiting: 'waiting to reconnect',
  offline: 'offline',
  refused: 'refused by the server',
  stopped: 'closed by the server',
}

const RELAY_NAMES = { live: 'live', degraded: 'unavailable; messages are queued' }

function details({ link, relay, server, cursor, count: last }: Snapshot): [string, string][] {
  const count = link.state === 'live' ? last : undefined
  return [
    ['State', LINK_NAMES[link.state]],
    ['Server', server?.instance ?? '–'],
    ['Connection', `${server?.connection ?? '–'}`],
    ['Message relay', RELAY_NAMES[relay]],
    ['Last message no.', `${cursor ?? '–'}`],
    ['Online', count ? plural(count.connections, 'connection') : '–'],
    ['Servers', count ? NUMBER.format(count.instances) + (count.settling ? ', still counting' : '') : '–'],
  ]
}
