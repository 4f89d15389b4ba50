import type { ReactNode } from 'react'
import type { RoomView } from 'hubbub-client'
import { useChat } from '@/state/chat'
import { Button } from '@/ui/button'
import { Skeleton } from '@/ui/skeleton'
import { LOG_ID } from './focus'
import { HEAD_PX } from './scroll'

/** What stands above the oldest message there is, always as high. */
export function ListHead({ room }: { room: RoomView }) {
  return (
    <div
      style={{ height: HEAD_PX }}
      className="flex items-center justify-center gap-3 px-6 text-center text-[0.8125rem] text-muted-foreground"
    >
      <Head room={room} />
    </div>
  )
}

function Head({ room: { name, history, hasOlder } }: { room: RoomView }): ReactNode {
  if (history === 'failed') {
    return (
      <>
        Earlier messages could not be loaded. <Load room={name}>Try again</Load>
      </>
    )
  }
  if (history === 'loading') return 'Loading…'
  return hasOlder ? <Load room={name}>Load earlier messages</Load> : `This is the start of #${name}.`
}

/** While it loads there is nothing to press: the focus goes to the list. */
function Load({ room, children }: { room: string; children: ReactNode }) {
  const { client } = useChat()
  const load = () => {
    document.getElementById(LOG_ID)?.focus()
    void client.loadOlder(room)
  }
  return (
    <Button variant="outline" size="sm" onClick={load}>
      {children}
    </Button>
  )
}

/** A room in which nothing was said, as far as is known. */
export function EmptyList({ room }: { room: RoomView }) {
  if (room.history === 'failed') return <Failed name={room.name} />
  if (room.history !== 'loaded') return <Placeholder />
  return <Quiet name={room.name} />
}

function Failed({ name }: { name: string }) {
  return (
    <div className="m-auto px-6 py-10 text-center">
      <p className="font-display text-2xl font-semibold tracking-tight">Earlier messages could not be loaded.</p>
      <p className="mx-auto mt-2 mb-5 max-w-sm text-[0.9375rem] text-muted-foreground">
        New messages will appear here all the same.
      </p>
      <Load room={name}>Try again</Load>
    </div>
  )
}

function Quiet({ name }: { name: string }) {
  return (
    <div className="m-auto px-6 py-10 text-center">
      <p className="font-display text-2xl font-semibold tracking-tight">No messages yet.</p>
      <p className="mx-auto mt-2 max-w-sm text-[0.9375rem] text-muted-foreground">
        Say hello, or share the link: anyone who opens it can join{' '}
        <span className="font-medium wrap-anywhere text-foreground">#{name}</span>.
      </p>
    </div>
  )
}

const PLACEHOLDER_WIDTHS = ['w-2/3', 'w-1/2', 'w-3/4', 'w-2/5']

function Placeholder() {
  return (
    <div className="mx-auto mt-auto w-full max-w-3xl space-y-6 px-4 pb-6 sm:px-6" aria-hidden="true" data-testid="skeleton">
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
