import { useCallback, useEffect, useState } from 'react'
import { Conversation } from '@/components/conversation'
import { Sidebar } from '@/components/sidebar'
import { Dialog } from '@/components/ui/dialog'
import { Welcome } from '@/components/welcome'
import { DEFAULT_ROOM, roomFault } from '@/lib/protocol'
import { useChat, useSnapshot } from './chat'
import { replaceRoute, useRoute } from './route'
import { useTitle } from './title'

export function App() {
  const name = useSnapshot((snapshot) => snapshot.name)
  const route = useRoute()
  useFollowRoute(route)
  useTitle()
  const isRoom = route !== undefined && roomFault(route) === undefined
  return name === undefined ? <Welcome room={isRoom ? route : DEFAULT_ROOM} /> : <ChatPage />
}

function ChatPage() {
  const [isMenuOpen, setMenuOpen] = useState(false)
  const closeMenu = useCallback(() => setMenuOpen(false), [])
  return (
    <div className="flex h-dvh pl-[env(safe-area-inset-left)]">
      <aside className="w-68 shrink-0 border-r border-sidebar-border max-md:hidden">
        <Sidebar />
      </aside>
      <Conversation onMenu={() => setMenuOpen(true)} />
      {isMenuOpen && (
        <Dialog
          label="Rooms"
          onClose={closeMenu}
          className="h-dvh max-h-none w-[min(19rem,85vw)] animate-drawer shadow-2xl"
        >
          <Sidebar onPick={closeMenu} />
        </Dialog>
      )}
    </div>
  )
}

/** Enters the room that the address names. Where that cannot be, the address goes back to the room in view. */
function useFollowRoute(route: string | undefined) {
  const { client } = useChat()
  useEffect(() => {
    if (route === undefined) return
    const fault = roomFault(route)
    if (fault !== undefined) client.report(`“${route}” is not the name of a room. ${fault}`)
    if (fault !== undefined || !client.enter(route)) replaceRoute(client.snapshot().active?.name ?? DEFAULT_ROOM)
  }, [client, route])
}
