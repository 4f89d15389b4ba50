/** What the person may choose: name, theme and keyboard. */
import { lazily } from '@/state/lazily'

export { IS_APPLE, useSingleKeys } from './keyboard'
export { NameForm } from './name-form'
export { useAppliedTheme, useTheme } from './theme'
export { ThemeToggle } from './theme-toggle'
export const Help = lazily(async () => (await import('./help')).Help)
export const NameDialog = lazily(async () => (await import('./name-dialog')).NameDialog)
