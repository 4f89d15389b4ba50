import { Button } from '@/ui/button'
import { MoonIcon, ScreenIcon, SunIcon } from '@/ui/icons'
import { THEME_NAMES, useTheme } from './theme'

const ICONS = { system: ScreenIcon, light: SunIcon, dark: MoonIcon }

export function ThemeToggle() {
  const [theme, turn] = useTheme()
  const Icon = ICONS[theme]
  return (
    <Button variant="ghost" size="icon" aria-label={`Theme: ${THEME_NAMES[theme]}`} title={`Theme: ${THEME_NAMES[theme]}`} onClick={turn}>
      <Icon />
    </Button>
  )
}
