import { useCallback, useEffect, useSyncExternalStore } from 'react'
import type { Storage } from '@/lib/storage'
import { useChat } from './chat'

const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

function isTheme(value: unknown): value is Theme {
  return THEMES.some((theme) => theme === value)
}

function stored(storage: Storage): Theme {
  return storage.read('theme', isTheme) ?? 'system'
}

/** The browser tells other tabs of a change by this event; this tab tells itself. */
function subscribe(listener: () => void) {
  window.addEventListener('storage', listener)
  return () => window.removeEventListener('storage', listener)
}

/** The chosen theme, and what turns to the next. */
export function useTheme(): [Theme, () => void] {
  const { storage } = useChat()
  const theme = useSyncExternalStore(subscribe, () => stored(storage))
  const turn = useCallback(() => {
    storage.write('theme', THEMES[(THEMES.indexOf(stored(storage)) + 1) % THEMES.length])
    window.dispatchEvent(new StorageEvent('storage'))
  }, [storage])
  return [theme, turn]
}

/** Gives the page the chosen theme. `public/theme.js` does it before the first paint. */
export function useAppliedTheme() {
  const [theme] = useTheme()
  useEffect(() => {
    const system = matchMedia('(prefers-color-scheme: dark)')
    const apply = () =>
      document.documentElement.classList.toggle('dark', theme === 'dark' || (theme === 'system' && system.matches))
    apply()
    system.addEventListener('change', apply)
    return () => system.removeEventListener('change', apply)
  }, [theme])
}
