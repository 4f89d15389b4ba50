import { COMPOSER_ID } from './shortcuts'

/** Whether whoever points does so without covering the page: then nothing comes up over it when a field has the focus. */
export function hasFinePointer(): boolean {
  return matchMedia('(pointer: fine)').matches
}

/** Puts the focus where one writes, when what has it is about to go. */
export function focusComposer() {
  if (hasFinePointer()) document.getElementById(COMPOSER_ID)?.focus()
}
