import { useEffect } from 'react'
import { useSnapshot } from '@/state/chat'
import { shortCount } from '@/ui/badge'

/** Names the room in the title of the page, after the number of unread messages, which the icon of the page shows too. */
export function useTitle() {
  const active = useSnapshot((snapshot) => snapshot.active?.name)
  const unread = useSnapshot(({ rooms }) => rooms.reduce((sum, room) => sum + room.unread, 0))
  const title = active === undefined ? 'Hubbub' : `#${active} · Hubbub`
  useEffect(() => {
    document.title = unread > 0 ? `(${shortCount(unread)}) ${title}` : title
    const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]')
    if (icon) icon.href = unread > 0 ? 'favicon-unread.svg' : 'favicon.svg'
  }, [unread, title])
}
