import { useSnapshot } from '@/app/chat'
import { Announcer } from './announcer'
import { Composer } from './composer'
import { ConnectionBanner } from './connection-banner'
import { MenuIcon } from './icons'
import { JoinForm } from './join-form'
import { LiveCount } from './live-count'
import { MessageList } from './message-list'
import { TypingLine } from './typing-line'
import { Badge } from './ui/badge'
import { Button } from './ui/button'

/** The room in view. */
export function Conversation({ onMenu }: { onMenu: () => void }) {
  const active = useSnapshot((snapshot) => snapshot.active)
  const rooms = useSnapshot((snapshot) => snapshot.rooms)
  const unreadElsewhere = rooms.reduce((sum, room) => sum + (room.name === active?.name ? 0 : room.unread), 0)
  return (
    <main className="flex min-h-0 min-w-0 flex-1 flex-col">
      <header className="flex h-16 shrink-0 items-center gap-2 border-b border-border pr-2 pl-2 sm:px-6">
        <Button variant="ghost" size="icon" aria-label="Rooms" className="relative md:hidden" onClick={onMenu}>
          <MenuIcon />
          {unreadElsewhere > 0 && (
            <span className="absolute top-0 right-0">
              <Badge>
                {unreadElsewhere > 99 ? '99+' : unreadElsewhere}
                <span className="sr-only"> unread in other rooms</span>
              </Badge>
            </span>
          )}
        </Button>
        <h1 className="min-w-0 flex-1 truncate font-display text-xl font-semibold tracking-tight">
          {active ? (
            <>
              <span className="font-normal text-muted-foreground">#</span>
              {active.name}
            </>
          ) : (
            'No room'
          )}
        </h1>
        <LiveCount />
      </header>
      <ConnectionBanner />
      {active ? (
        <>
          <MessageList key={`list:${active.name}`} room={active} />
          <TypingLine typists={active.typists} />
          <Composer key={`composer:${active.name}`} room={active.name} />
          <Announcer key={`announcer:${active.name}`} room={active} />
        </>
      ) : (
        <div className="m-auto w-full max-w-xs px-4">
          <JoinForm />
        </div>
      )}
    </main>
  )
}
