import { useCallback, useSyncExternalStore } from 'react'
import { useChat } from './chat'

/** The browser tells other tabs of a change by this event; this tab tells itself. */
function subscribe(listener: () => void) {
  window.addEventListener('storage', listener)
  return () => window.removeEventListener('storage', listener)
}

/** A choice that the browser keeps for all tabs, and what makes another one. */
export function useKept<T extends string | boolean>(name: string, isValid: (value: unknown) => value is T, unchosen: T): [T, (value: T) => void] {
  const { storage } = useChat()
  const value = useSyncExternalStore(subscribe, () => storage.read(name, isValid) ?? unchosen)
  const choose = useCallback(
    (next: T) => {
      storage.write(name, next)
      window.dispatchEvent(new StorageEvent('storage'))
    },
    [storage, name],
  )
  return [value, choose]
}
