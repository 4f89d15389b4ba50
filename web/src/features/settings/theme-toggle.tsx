import { Button } from '@/ui/button'
import { MoonIcon, ScreenIcon, SunIcon } from '@/ui/icons'
import { useTheme } from './theme'

const ICONS = { system: ScreenIcon, light: SunIcon, dark: MoonIcon }

export function ThemeToggle() {
  const [theme, turn] = useTheme()
  const Icon = ICONS[theme]
  return (
    <Button variant="ghost" size="icon" aria-label={`Theme: ${theme}`} title={`Theme: ${theme}`} onClick={turn}>
      <Icon />
    </Button>
  )
}
