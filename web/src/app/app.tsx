import { useCallback, useEffect, useState } from 'react'
import { DEFAULT_ROOM, roomFault } from 'hubbub-client'
import { Welcome } from '@/features/auth'
import { Conversation } from '@/features/chat'
import { People } from '@/features/people'
import { AddressDialog, Palette, Sidebar } from '@/features/rooms'
import { Help, NameDialog, useAppliedTheme } from '@/features/settings'
import { useChat, useSnapshot } from '@/state/chat'
import { DialogContext, type DialogName } from '@/state/dialogs'
import { replaceRoute, useRoute } from '@/state/route'
import { Boundary } from '@/ui/boundary'
import { Broken } from '@/ui/broken'
import { Dialog } from '@/ui/dialog'
import { useNoDrop } from './drop'
import { useShortcuts } from './shortcuts'
import { useTitle } from './title'

/** How much of what is no room is repeated to the person. */
const ROOM_CHARS = 64

export function App() {
  const name = useSnapshot((snapshot) => snapshot.name)
  const route = useRoute()
  useFollowRoute(route)
  useTitle()
  useAppliedTheme()
  useNoDrop()
  const isRoom = route !== undefined && roomFault(route) === undefined
  return (
    <Boundary fallback={<Broken what="This page" />}>
      {name === undefined ? <Welcome room={isRoom ? route : DEFAULT_ROOM} /> : <ChatPage />}
    </Boundary>
  )
}

/** Rooms, messages and people, side by side as far as there is room for them. */
function ChatPage() {
  const [dialog, setDialog] = useState<DialogName>()
  const close = useCallback(() => setDialog(undefined), [])
  useShortcuts(setDialog)
  return (
    <DialogContext value={setDialog}>
      <div className="flex h-dvh pt-[env(safe-area-inset-top)] pr-[env(safe-area-inset-right)] pl-[env(safe-area-inset-left)]">
        <aside aria-label="Rooms" className="w-64 shrink-0 border-r border-sidebar-border max-md:hidden xl:w-68">
          <Sidebar />
        </aside>
        <Conversation />
        <aside aria-label="People" className="w-60 shrink-0 border-l border-sidebar-border max-lg:hidden xl:w-64">
          <People />
        </aside>
      </div>
      {dialog && <OpenDialog name={dialog} onClose={close} />}
    </DialogContext>
  )
}

/** What a person may type into is a part of the page's own program: keys go on to the composer until it is there. */
function OpenDialog({ name, onClose }: { name: DialogName; onClose: () => void }) {
  switch (name) {
    case 'rooms':
      return (
        <Dialog label="Rooms" onClose={onClose} shape="left">
          <Sidebar onPick={onClose} />
        </Dialog>
      )
    case 'people':
      return (
        <Dialog label="People" onClose={onClose} shape="right">
          <People onClose={onClose} />
        </Dialog>
      )
    case 'palette':
      return <Palette onClose={onClose} />
    case 'help':
      return <Help onClose={onClose} />
    case 'name':
      return <NameDialog onClose={onClose} />
    case 'address':
      return <AddressDialog onClose={onClose} />
  }
}

/**
 * Enters the room that the address names. Where that cannot be, the address goes back to the room in view; where there is none, or once
 * that is left, in this tab or another, to the first there is.
 */
function useFollowRoute(route: string | undefined) {
  const { client } = useChat()
  const active = useSnapshot((snapshot) => snapshot.active?.name)
  useEffect(() => {
    if (route === undefined) return
    const fault = roomFault(route)
    if (fault !== undefined) client.report(`“${route.slice(0, ROOM_CHARS)}” is not the name of a room. ${fault}`)
    if (fault === undefined && client.enter(route)) return
    const { active: current, rooms } = client.snapshot()
    replaceRoute((current ?? rooms[0])?.name ?? DEFAULT_ROOM)
  }, [client, route])
  useEffect(() => {
    if (active === undefined) return
    return () => {
      const { active: next, rooms } = client.snapshot()
      if (!next) replaceRoute(rooms[0]?.name)
    }
  }, [client, active])
}
