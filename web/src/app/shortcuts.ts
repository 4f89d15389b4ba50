import { useEffect, useEffectEvent } from 'react'
import { COMPOSER_ID, LOG_ID } from '@/features/chat'
import { IS_APPLE, useSingleKeys } from '@/features/settings'
import { useChat } from '@/state/chat'
import type { DialogName } from '@/state/dialogs'
import { goToRoom } from '@/state/route'

/** How much of the list a page is. */
const PAGE = 0.85

const FIELD = 'input, textarea, select, [contenteditable]'

/** What the keyboard does wherever the person is in the page. */
export function useShortcuts(open: (name: DialogName) => void) {
  const { client } = useChat()
  const [hasSingleKeys] = useSingleKeys()

  const step = (by: number, isWanted: (unread: number) => boolean) => {
    const { rooms, active } = client.snapshot()
    const start = rooms.findIndex(({ name }) => name === active?.name)
    for (let distance = 1; distance <= rooms.length; distance += 1) {
      const room = rooms.at((start + by * distance + rooms.length * distance) % rooms.length)
      if (room && isWanted(room.unread)) return goToRoom(room.name)
    }
  }

  const onKey = useEffectEvent((event: KeyboardEvent) => {
    if (event.defaultPrevented || event.isComposing) return
    if (isPalette(event)) {
      event.preventDefault()
      return open('palette')
    }
    if (document.querySelector('dialog[open], :popover-open') || scrolls(event)) return
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key]
    if (event.altKey && by !== undefined) {
      event.preventDefault()
      return step(by, (unread) => !event.shiftKey || unread > 0)
    }
    if (!hasSingleKeys || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.target instanceof Element && event.target.closest(FIELD)) return
    if (event.key === '?') {
      event.preventDefault()
      open('help')
    } else if (event.key.length === 1 && event.key !== ' ') {
      document.getElementById(COMPOSER_ID)?.focus()
    }
  })

  useEffect(() => {
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [])
}

/** Scrolls the messages while the person writes, and back to the end. Says whether that was what the key is for. */
function scrolls(event: KeyboardEvent): boolean {
  const log = document.getElementById(LOG_ID)
  const composer = document.getElementById(COMPOSER_ID)
  const pages = { PageUp: -PAGE, PageDown: PAGE }[event.key]
  const edge = { Home: 0, End: log?.scrollHeight }[event.key]
  if (log && event.key === 'Escape') {
    log.scrollTo({ top: log.scrollHeight })
    composer?.focus()
  } else if (log && pages !== undefined && composer && event.target === composer && composer.scrollHeight <= composer.clientHeight) {
    event.preventDefault()
    log.scrollBy({ top: pages * log.clientHeight })
  } else if (log && edge !== undefined && event.target === log) {
    // at once: on a long way rows get their heights, and the browser would stop there
    event.preventDefault()
    log.scrollTo({ top: edge })
  } else {
    return false
  }
  return true
}

function isPalette({ key, ctrlKey, metaKey, altKey, shiftKey }: KeyboardEvent): boolean {
  return key.toLowerCase() === 'k' && (IS_APPLE ? metaKey : ctrlKey) && !altKey && !shiftKey
}
