import { usePreference } from '@/state/preference'

export const IS_APPLE = /Mac|iP(hone|ad|od)/.test(navigator.userAgent)

/** The keyboard shortcuts. What stands between slashes are alternatives. `app/shortcuts.ts` does what it says. */
export const SHORTCUTS: readonly (readonly [keys: string, what: string])[] = [
  [IS_APPLE ? '⌘ K' : 'Ctrl K', 'Search'],
  ['Alt ↑ / Alt ↓', 'The room above, below'],
  ['Alt Shift ↑ / Alt Shift ↓', 'The unread room above, below'],
  ['Enter', 'Send'],
  ['Shift Enter', 'New line'],
  ['Page Up / Page Down', 'Scroll messages'],
  ['Esc', 'Close what is open, or jump to latest'],
  ['any letter', 'Start typing anywhere'],
  ['?', 'Show this list'],
]

function isBoolean(value: unknown): value is boolean {
  return typeof value === 'boolean'
}

/** Whether keys do something by themselves, without Ctrl or Alt, and what changes that. Speech input may type letters by accident. */
export function useSingleKeys() {
  return usePreference('single-keys', isBoolean, true)
}
