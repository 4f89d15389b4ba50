import { useEffect } from 'react'
import { useSnapshot } from './chat'

/** Names the room in the title of the page, after the number of unread messages. */
export function useTitle() {
  const rooms = useSnapshot((snapshot) => snapshot.rooms)
  const active = useSnapshot((snapshot) => snapshot.active)
  const unread = rooms.reduce((sum, room) => sum + room.unread, 0)
  const title = active ? `#${active.name} · Hubbub` : 'Hubbub'
  useEffect(() => {
    document.title = unread > 0 ? `(${unread > 99 ? '99+' : unread}) ${title}` : title
  }, [unread, title])
}
