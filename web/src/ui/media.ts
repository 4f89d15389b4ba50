import { useCallback, useSyncExternalStore } from 'react'

/** From this width on there is room for a third column. */
export const WIDE = '(min-width: 64rem)'

/** Whether the page is as the media query says. */
export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const list = matchMedia(query)
      list.addEventListener('change', listener)
      return () => list.removeEventListener('change', listener)
    },
    [query],
  )
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches)
}

/** Whether the pointer is precise, as a mouse is. A touch screen may cover the page with a keyboard when a field gets the focus. */
export function hasFinePointer(): boolean {
  return matchMedia('(pointer: fine)').matches
}
