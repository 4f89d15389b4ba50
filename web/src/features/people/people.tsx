import type { Speaker } from 'hubbub-client'
import { useSnapshot } from '@/state/chat'
import { Avatar } from '@/ui/avatar'
import { Boundary } from '@/ui/boundary'
import { Broken } from '@/ui/broken'
import { Button } from '@/ui/button'
import { ago, fullTime, useNow } from '@/ui/clock'
import { CloseIcon } from '@/ui/icons'
import { useMedia, WIDE } from '@/ui/media'
import { shownName } from '@/ui/visible'
import { LiveCount } from './live-count'
import { Pulse } from './pulse'

/** Who is there: how many are online, and who was recently active in the room in view. */
export function People({ onClose }: { onClose?: () => void }) {
  const active = useSnapshot((snapshot) => snapshot.active)
  const isWide = useMedia(WIDE)
  return (
    <div className="flex h-full flex-col bg-sidebar text-sidebar-foreground">
      <div className="flex h-16 shrink-0 items-center justify-between px-3">
        {isWide ? <LiveCount /> : <h2 className="px-2 font-display text-lg font-semibold tracking-tight">People</h2>}
        {onClose && (
          <Button variant="ghost" size="icon" aria-label="Close" onClick={onClose}>
            <CloseIcon />
          </Button>
        )}
      </div>
      {active && (
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
        <div tabIndex={0} role="group" aria-label={`People in ${active.name}`} className="scroll-thin min-h-0 flex-1 overflow-y-auto px-5 pt-3 pb-5 focus-visible:-outline-offset-2">
          <Boundary key={active.name} fallback={<Broken what="This" />}>
            <Pulse room={active} />
            <Speakers speakers={active.speakers} />
          </Boundary>
        </div>
      )}
    </div>
  )
}

const MINUTE_MS = 60_000

function Speakers({ speakers }: { speakers: readonly Speaker[] }) {
  const me = useSnapshot((snapshot) => snapshot.me)
  const now = useNow(MINUTE_MS)
  return (
    <section className="mt-7">
      <h2 className="text-[0.8125rem] font-semibold">Recently active</h2>
      {speakers.length === 0 && <p className="mt-1 text-[0.8125rem] text-muted-foreground">No one has posted yet.</p>}
      <ul className="mt-2.5 space-y-2.5">
        {speakers.map(({ id, name, at }) => (
          <li key={id} className="flex items-center gap-2.5">
            <Avatar id={id} name={name} className="size-8" />
            <span className="min-w-0 flex-1">
              <span className="block truncate text-sm leading-tight font-medium">
                <bdi>{shownName(name)}</bdi>
              </span>
              <span className="mt-0.5 block text-xs leading-tight text-muted-foreground">
                {id === me?.id && 'you · '}
                <time dateTime={new Date(at).toISOString()} title={fullTime(at)}>
                  {ago(at, now)}
                </time>
              </span>
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
