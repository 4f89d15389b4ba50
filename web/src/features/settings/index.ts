/** What the person may choose: name, theme and keyboard. */
import { lazyComponent } from '@/state/lazy-component'

export { IS_APPLE, useSingleKeys } from './keyboard'
export { NameForm } from './name-form'
export { useAppliedTheme, useTheme } from './theme'
export { ThemeToggle } from './theme-toggle'
export const Help = lazyComponent(async () => (await import('./help')).Help)
export const NameDialog = lazyComponent(async () => (await import('./name-dialog')).NameDialog)
