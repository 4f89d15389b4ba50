/** What the person may choose: name, theme and keyboard. */
export { Help } from './help'
export { IS_APPLE, useSingleKeys } from './keyboard'
export { NameDialog } from './name-dialog'
export { NameForm } from './name-form'
export { THEME_NAMES, useAppliedTheme, useTheme } from './theme'
export { ThemeToggle } from './theme-toggle'
