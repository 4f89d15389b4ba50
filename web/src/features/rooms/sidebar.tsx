import { memo, useRef, useState } from 'react'
import { createPortal, flushSync } from 'react-dom'
import type { RoomView } from 'hubbub-client'
import { ThemeToggle } from '@/features/settings'
import { useChat, useSnapshot } from '@/state/chat'
import { useOpenDialog } from '@/state/dialogs'
import { roomPath } from '@/state/route'
import { Avatar } from '@/ui/avatar'
import { CountBadge } from '@/ui/badge'
import { Button } from '@/ui/button'
import { cn } from '@/ui/cn'
import { CloseIcon, KeyboardIcon, LeaveIcon, PenIcon, SearchIcon } from '@/ui/icons'
import { Logo } from '@/ui/logo'
import { JoinForm } from './join-form'
import { LeaveDialog } from './leave-dialog'

/** The rooms and oneself. `onPick` is called when the person has chosen where to go, or to stay. */
export function Sidebar({ onPick }: { onPick?: () => void }) {
  const rooms = useSnapshot((snapshot) => snapshot.rooms)
  const active = useSnapshot((snapshot) => snapshot.active?.name)
  const open = useOpenDialog()
  return (
    <div className="flex h-full flex-col bg-sidebar text-sidebar-foreground">
      <div className="flex h-16 shrink-0 items-center gap-2.5 pr-3 pl-5">
        <Logo className="size-7" />
        <span className="flex-1 font-display text-xl font-bold tracking-tight">hubbub</span>
        <Button variant="ghost" size="icon" aria-label="Search" title="Search" onClick={() => open('palette')}>
          <SearchIcon />
        </Button>
        {onPick && (
          <Button variant="ghost" size="icon" aria-label="Close" onClick={onPick} className="-ml-2">
            <CloseIcon />
          </Button>
        )}
      </div>
      <nav aria-label="Rooms" className="scroll-thin min-h-0 flex-1 overflow-y-auto px-3 py-2">
        <ul className="space-y-0.5">
          {rooms.map((room) => (
            <RoomItem key={room.name} room={room} isActive={room.name === active} onPick={onPick} />
          ))}
        </ul>
      </nav>
      <div className="px-5 pt-3 pb-4">
        <JoinForm onJoin={onPick} />
      </div>
      <Self />
    </div>
  )
}

type RoomItemProps = { room: RoomView; isActive: boolean; onPick: (() => void) | undefined }

const RoomItem = memo(function RoomItem({ room: { name, unread, outgoing }, isActive, onPick }: RoomItemProps) {
  const { client } = useChat()
  const item = useRef<HTMLLIElement>(null)
  const [isAsked, setAsked] = useState(false)
  const leave = () => {
    // the focus can go on when the dialog is closed, not before
    flushSync(() => setAsked(false))
    const neighbour = item.current?.nextElementSibling ?? item.current?.previousElementSibling
    neighbour?.querySelector('a')?.focus()
    client.leave(name)
  }
  return (
    <li ref={item} className="group relative">
      <a
        href={roomPath(name)}
        aria-current={isActive ? 'page' : undefined}
        onClick={onPick}
        className={cn(
          'flex h-11 items-center gap-2 rounded-md pr-12 pl-3 text-[0.9375rem] transition-colors sm:h-10',
          isActive
            ? 'bg-sidebar-accent font-medium text-sidebar-accent-foreground forced-colors:outline-2 forced-colors:-outline-offset-2'
            : 'hover:bg-sidebar-accent/55',
          unread > 0 && 'font-semibold',
        )}
      >
        <span aria-hidden="true" className="text-muted-foreground">
          #
        </span>
        <span className="truncate">{name}</span>
        {unread > 0 && (
          <span className="absolute right-3 group-focus-within:right-11 group-hover:right-11">
            <CountBadge count={unread} what="unread" />
          </span>
        )}
      </a>
      <Button
        variant="ghost"
        size="icon-sm"
        aria-label={`Leave ${name}`}
        title={`Leave ${name}`}
        onClick={outgoing.length > 0 ? () => setAsked(true) : leave}
        className={cn(
          'absolute inset-y-0 right-1 my-auto hover:bg-transparent',
          'group-focus-within:visible group-hover:visible',
          !(isActive && unread === 0) && 'invisible',
        )}
      >
        <LeaveIcon className="size-4" />
      </Button>
      {isAsked &&
        createPortal(<LeaveDialog room={name} unsent={outgoing.length} onLeave={leave} onClose={() => setAsked(false)} />, document.body)}
    </li>
  )
})

function Self() {
  const open = useOpenDialog()
  const name = useSnapshot((snapshot) => snapshot.name ?? '')
  const me = useSnapshot((snapshot) => snapshot.me)
  return (
    <div className="flex items-center gap-1 border-t border-sidebar-border px-3 py-2 pb-[max(0.5rem,env(safe-area-inset-bottom))]">
      <button
        type="button"
        onClick={() => open('name')}
        title="Change your name"
        className="group flex h-11 min-w-0 flex-1 items-center gap-2.5 rounded-md px-2 text-left transition-colors hover:bg-sidebar-accent/55"
      >
        <Avatar id={me?.id ?? ''} name={name} className="size-8" />
        <span className="truncate text-[0.9375rem] font-medium" dir="auto">
          {name}
        </span>
        <span className="sr-only">Change your name</span>
        <PenIcon className="size-4 shrink-0 text-muted-foreground opacity-0 group-hover:opacity-100 group-focus-visible:opacity-100" />
      </button>
      <Button variant="ghost" size="icon" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" className="max-md:hidden" onClick={() => open('help')}>
        <KeyboardIcon />
      </Button>
      <ThemeToggle />
    </div>
  )
}
