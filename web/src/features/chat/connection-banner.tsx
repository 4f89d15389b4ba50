import type { ReactNode } from 'react'
import { closeText } from 'hubbub-client'
import { useChat, useSnapshot } from '@/state/chat'
import { useOutage } from '@/state/outage'
import { Button } from '@/ui/button'
import { useNow } from '@/ui/clock'
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
  const now = useNow(250, outage !== 'none')
  if (link.state === 'stopped') {
    return (
      <Banner tone="alert" action={<BannerButton onClick={() => location.reload()}>Reload</BannerButton>}>
        {closeText(link.code)}
      </Banner>
    )
  }
  const retry = <BannerButton onClick={() => client.retryNow()}>Retry now</BannerButton>
  if (link.state === 'refused') {
    return (
      <Banner tone="alert" action={retry}>
        The server does not let you in: {link.refusal.detail}
      </Banner>
    )
  }
  if (outage !== 'long') return null
  switch (link.state) {
    case 'waiting': {
      const seconds = Math.max(1, Math.ceil((link.until - now) / 1000))
      return (
        <Banner action={retry}>
          Connection lost. Trying again <span aria-hidden="true" className="whitespace-nowrap">in {seconds} s</span>
        </Banner>
      )
    }
    case 'offline':
      return <Banner action={retry}>You are offline. What you write is kept and sent when you are back.</Banner>
    case 'replaying':
      return <Banner>Catching up…</Banner>
    default:
      return <Banner>Connecting…</Banner>
  }
}

function RelayNotice() {
  const relay = useSnapshot((snapshot) => snapshot.relay)
  const link = useSnapshot((snapshot) => snapshot.link)
  if (relay === 'live' || link.state !== 'live') return null
  return <Banner>The servers cannot reach each other. Messages will be delivered when the relay is back.</Banner>
}

/** What was said during an outage may be more than the server can replay. */
function Gap() {
  const { client } = useChat()
  const room = useSnapshot(({ active }) => (active?.hasGap ? active.name : undefined))
  if (room === undefined) return null
  return (
    <Banner action={<Dismiss onClick={() => client.dismissGap(room)} />}>
      Not everything could be replayed, so recent messages were loaded again. Some may be missing.
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
