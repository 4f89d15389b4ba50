import { createContext, use, useSyncExternalStore } from 'react'
import type { Chat as Client, Snapshot, Storage } from 'hubbub-client'
import type { Store } from './store'

export type Chat = { client: Client; store: Store; storage: Storage }

export const ChatContext = createContext<Chat | undefined>(undefined)

export function useChat(): Chat {
  const chat = use(ChatContext)
  if (!chat) throw new Error('there is no ChatContext around this component')
  return chat
}

/** A part of what there is to show. Only a change of this part renders the component anew. */
export function useSnapshot<T>(select: (snapshot: Snapshot) => T): T {
  const { store } = useChat()
  return useSyncExternalStore(store.subscribe, () => select(store.snapshot()))
}
