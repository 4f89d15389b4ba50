import { useEffect } from 'react'
import { usePreference } from '@/state/preference'

const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

export const THEME_NAMES: Record<Theme, string> = { system: 'System', light: 'Light', dark: 'Dark' }

function isTheme(value: unknown): value is Theme {
  return THEMES.some((theme) => theme === value)
}

/** The chosen theme, and what turns to the next. */
export function useTheme(): [Theme, () => void] {
  const [theme, choose] = usePreference<Theme>('theme', isTheme, 'system')
  return [theme, () => choose(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'system')]
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
