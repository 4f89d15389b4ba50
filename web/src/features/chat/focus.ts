import { hasFinePointer } from '@/ui/media'

export const COMPOSER_ID = 'composer'
export const LOG_ID = 'messages'

/** Focuses the composer, when the element that has the focus is about to go. */
export function focusComposer() {
  if (hasFinePointer()) document.getElementById(COMPOSER_ID)?.focus()
}
