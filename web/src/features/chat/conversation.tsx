import { LiveCount } from '@/features/people'
import { JoinForm } from '@/features/rooms'
import { useSnapshot } from '@/state/chat'
import { useOpenDialog } from '@/state/dialogs'
import { CountBadge } from '@/ui/badge'
import { Boundary } from '@/ui/boundary'
import { Broken } from '@/ui/broken'
import { Button } from '@/ui/button'
import { MenuIcon, PeopleIcon } from '@/ui/icons'
import { hasFinePointer, useMedia, WIDE } from '@/ui/media'
import { Announcer } from './announcer'
import { Composer } from './composer'
import { ConnectionBanner } from './connection-banner'
import { MessageList } from './message-list'
import { TypingLine } from './typing-line'

/** The room in view. */
export function Conversation() {
  const active = useSnapshot((snapshot) => snapshot.active)
  return (
    <main className="flex min-h-0 min-w-0 flex-1 flex-col">
      <Header room={active?.name} />
      <ConnectionBanner />
      {active ? (
        <>
          <Boundary key={`list:${active.name}`} fallback={<Broken what={`What was said in #${active.name}`} />}>
            <MessageList room={active} />
          </Boundary>
          <TypingLine typists={active.typists} />
          <Composer key={`composer:${active.name}`} room={active.name} />
          <Announcer key={`announcer:${active.name}`} room={active} />
        </>
      ) : (
        <div className="m-auto w-full max-w-xs px-4">
          <JoinForm autoFocus={hasFinePointer()} />
        </div>
      )}
    </main>
  )
}

function Header({ room }: { room: string | undefined }) {
  const unreadElsewhere = useSnapshot(({ rooms }) => rooms.reduce((sum, { name, unread }) => sum + (name === room ? 0 : unread), 0))
  const open = useOpenDialog()
  const isWide = useMedia(WIDE)
  return (
    <header className="flex h-14 shrink-0 items-center gap-1 border-b border-border px-1.5 sm:h-16 sm:px-6">
      <Button variant="ghost" size="icon" className="relative md:hidden" onClick={() => open('rooms')}>
        <MenuIcon />
        <span className="sr-only">Rooms</span>
        {unreadElsewhere > 0 && (
          <span className="absolute top-0 left-1/2 origin-top-left scale-80 rounded-full ring-2 ring-background">
            <CountBadge count={unreadElsewhere} what="unread in other rooms" />
          </span>
        )}
      </Button>
      <h1 className="min-w-0 flex-1 truncate font-display text-lg font-semibold tracking-tight sm:text-xl">
        {room === undefined ? (
          'Pick a room'
        ) : (
          <>
            <span className="font-normal text-muted-foreground">#</span>
            {room}
          </>
        )}
      </h1>
      {!isWide && (
        <>
          <LiveCount />
          <Button variant="ghost" size="icon" aria-label="People" title="People" onClick={() => open('people')}>
            <PeopleIcon />
          </Button>
        </>
      )}
    </header>
  )
}
