import { useState, type ReactNode } from 'react'
import { closeText, refusalText, type Link, type Obstacle } from 'hubbub-client'
import { useChat, useSnapshot } from '@/state/chat'
import { useOutage } from '@/state/outage'
import { Button } from '@/ui/button'
import { useTicks } from '@/ui/clock'
import { cn } from '@/ui/cn'
import { CloseIcon } from '@/ui/icons'
import { focusComposer } from './focus'

/** What stands between the person and the conversation, if anything. */
export function ConnectionBanner() {
  return (
    <div role="status">
      <Outage />
      <RelayNotice />
      <Gap />
      <Problem />
    </div>
  )
}

function Outage() {
  const { client } = useChat()
  const link = useSnapshot((snapshot) => snapshot.link)
  const outage = useOutage()
  const isFirst = useIsFirst(link)
  const retry = <BannerButton onClick={() => client.retryNow()}>Try now</BannerButton>
  if (link.state === 'stopped') {
    // another tab closed may be all it takes, where a page that is not understood has to be a newer one
    const again = link.code === TOO_MANY ? retry : <BannerButton onClick={() => location.reload()}>Reload</BannerButton>
    return (
      <Banner tone="alert" action={again}>
        {closeText(link.code)}
      </Banner>
    )
  }
  if (link.state === 'refused') {
    return (
      <Banner tone="alert" action={retry}>
        You can’t connect: {refusalText(link.refusal)}
      </Banner>
    )
  }
  if (outage !== 'long') return null
  switch (link.state) {
    case 'waiting':
    case 'connecting':
      return (
        <Banner tone={link.obstacle ? 'alert' : 'calm'} action={isFirst ? undefined : retry}>
          {link.obstacle && `${OBSTACLES[link.obstacle]} `}
          {isFirst ? 'Connecting…' : <Reconnecting until={link.state === 'waiting' ? link.until : undefined} />}
        </Banner>
      )
    case 'offline':
      return <Banner action={retry}>You’re offline. Messages will be sent when you reconnect.</Banner>
    case 'replaying':
      return <Banner>Catching up…</Banner>
    default:
      return null
  }
}

/** The close code for a person who has too many connections. */
const TOO_MANY = 4501

const OBSTACLES: Record<Obstacle, string> = {
  address_full: 'This network has too many open connections to the server.',
  origin_refused: `The server doesn’t accept connections from ${location.host}. Whoever runs it must allow this address.`,
  socket_blocked: 'The server answers, but live connections don’t get through. Whoever runs it should check its proxy and allowed addresses.',
}

/** Whether the page has tried to connect only once. */
function useIsFirst({ state }: Link): boolean {
  const [isFirst, setFirst] = useState(true)
  if (isFirst && state !== 'idle' && state !== 'connecting') setFirst(false)
  return isFirst
}

/** The same words between attempts and during each, so that a screen reader says them once. */
function Reconnecting({ until }: { until: number | undefined }) {
  const now = useTicks(250, until !== undefined)
  return (
    <>
      Reconnecting
      <span aria-hidden="true" className="whitespace-nowrap">
        {until === undefined ? '…' : ` in ${Math.max(1, Math.ceil((until - now) / 1000))} s…`}
      </span>
    </>
  )
}

function RelayNotice() {
  const relay = useSnapshot((snapshot) => snapshot.relay)
  const link = useSnapshot((snapshot) => snapshot.link)
  if (relay === 'live' || link.state !== 'live') return null
  return <Banner>There is a problem on our side. Messages will arrive once it is fixed.</Banner>
}

/** What was said during an outage may be more than the server can replay. */
function Gap() {
  const { client } = useChat()
  const room = useSnapshot(({ active }) => (active?.hasGap ? active.name : undefined))
  if (room === undefined) return null
  return (
    <Banner action={<Dismiss onClick={() => client.dismissGap(room)} />}>
      You were away too long to catch up completely. Some messages may be missing.
    </Banner>
  )
}

function Problem() {
  const { client } = useChat()
  const problem = useSnapshot((snapshot) => snapshot.problem)
  if (problem === undefined) return null
  return (
    <Banner tone="alert" action={<Dismiss onClick={() => client.dismissProblem()} />}>
      {problem}
    </Banner>
  )
}

type BannerProps = { tone?: 'calm' | 'alert'; action?: ReactNode; children: ReactNode }

function Banner({ tone = 'calm', action, children }: BannerProps) {
  return (
    <div
      className={cn(
        'flex min-h-11 animate-arrive items-center justify-between gap-3 border-b px-4 py-1.5 text-sm sm:px-6',
        tone === 'calm' ? 'border-highlight/35 bg-highlight/15' : 'border-destructive/30 bg-destructive/10',
      )}
    >
      <p className="min-w-0 wrap-anywhere tabular-nums">{children}</p>
      {action}
    </div>
  )
}

/** What it brings about takes the banner away, and with it the focus. */
function leaving(act: () => void) {
  return () => {
    focusComposer()
    act()
  }
}

function BannerButton({ onClick, children }: { onClick: () => void; children: ReactNode }) {
  return (
    <Button variant="outline" size="sm" onClick={leaving(onClick)}>
      {children}
    </Button>
  )
}

function Dismiss({ onClick }: { onClick: () => void }) {
  return (
    <Button variant="ghost" size="icon-sm" aria-label="Dismiss" onClick={leaving(onClick)}>
      <CloseIcon className="size-4" />
    </Button>
  )
}
