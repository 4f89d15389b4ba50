import { useCallback, useSyncExternalStore } from 'react'
import { useChat } from './chat'

/** The browser sends this event to the other tabs only; `choose` dispatches it in this one. */
function subscribe(listener: () => void) {
  window.addEventListener('storage', listener)
  return () => window.removeEventListener('storage', listener)
}

/** A preference that the browser stores for all its tabs, and a function that changes it. */
export function usePreference<T extends string | boolean>(name: string, isValid: (value: unknown) => value is T, unchosen: T): [T, (value: T) => void] {
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
