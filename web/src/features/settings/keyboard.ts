import { usePreference } from '@/state/preference'

export const IS_APPLE = /Mac|iP(hone|ad|od)/.test(navigator.userAgent)

/** The keyboard map. What stands between slashes are alternatives. `app/shortcuts.ts` does what it says. */
export const SHORTCUTS: readonly (readonly [keys: string, what: string])[] = [
  [IS_APPLE ? '⌘ K' : 'Ctrl K', 'Go to a room, or do something'],
  ['Alt ↑ / Alt ↓', 'The room above, below'],
  ['Alt Shift ↑ / Alt Shift ↓', 'The unread room above, below'],
  ['Enter', 'Send'],
  ['Shift Enter', 'A new line'],
  ['Page Up / Page Down', 'Scroll while you write'],
  ['Esc', 'Close what is open, or go to the end'],
  ['any letter', 'Write, wherever you are'],
  ['?', 'This list'],
]

function isBoolean(value: unknown): value is boolean {
  return typeof value === 'boolean'
}

/** Whether keys do something by themselves, without Ctrl or Alt, and what changes that. Speech input may type letters by accident. */
export function useSingleKeys() {
  return usePreference('single-keys', isBoolean, true)
}
