import { useSyncExternalStore } from 'react'

const ROOM = /^#\/r\/([^/]+)$/

function subscribe(listener: () => void) {
  window.addEventListener('hashchange', listener)
  return () => window.removeEventListener('hashchange', listener)
}

/** The room that the address names, valid or not. */
export function useRoute(): string | undefined {
  const hash = useSyncExternalStore(subscribe, () => location.hash)
  const room = ROOM.exec(hash)?.[1]
  if (room === undefined) return undefined
  try {
    return decodeURIComponent(room)
  } catch {
    return room
  }
}

export function roomPath(room: string): string {
  return `#/r/${room}`
}

/** The name of a room in what a person typed, which may begin with “#”. */
export function roomNameFrom(text: string): string {
  return text.trim().replace(/^#/, '')
}

export function goToRoom(room: string) {
  location.hash = roomPath(room)
}

/** Names a room in an address that names none. */
export function ensureRoute(room: string) {
  if (!ROOM.test(location.hash)) replaceRoute(room)
}

/** Names a room in the address without a step in the browser's history. */
export function replaceRoute(room: string | undefined) {
  history.replaceState(null, '', room === undefined ? location.pathname : roomPath(room))
  window.dispatchEvent(new HashChangeEvent('hashchange'))
}
