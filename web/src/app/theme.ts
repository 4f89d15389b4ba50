import { useCallback, useEffect, useState } from 'react'
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

/** The chosen theme, applied to the page and kept. `public/theme.js` applies it before the first paint. */
export function useTheme(): [Theme, () => void] {
  const { storage } = useChat()
  const [theme, setTheme] = useState(() => stored(storage))

  useEffect(() => {
    const system = matchMedia('(prefers-color-scheme: dark)')
    const apply = () =>
      document.documentElement.classList.toggle('dark', theme === 'dark' || (theme === 'system' && system.matches))
    apply()
    system.addEventListener('change', apply)
    return () => system.removeEventListener('change', apply)
  }, [theme])

  const turn = useCallback(() => {
    const next = THEMES[(THEMES.indexOf(stored(storage)) + 1) % THEMES.length] ?? 'system'
    storage.write('theme', next)
    setTheme(next)
  }, [storage])

  return [theme, turn]
}
