import { createContext, use } from 'react'

/** What can lie over the page, one at a time. */
export type DialogName = 'rooms' | 'people' | 'palette' | 'help' | 'name' | 'address'

export const DialogContext = createContext<(name: DialogName) => void>(() => {})

/** Opens a dialog, in place of the one that is open. */
export function useOpenDialog(): (name: DialogName) => void {
  return use(DialogContext)
}
