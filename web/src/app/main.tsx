import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Chat, DEFAULT_ROOM, Storage } from 'hubbub-client'
import { ChatContext } from '@/state/chat'
import { ensureRoute } from '@/state/route'
import { Store } from '@/state/store'
import '@/ui/styles.css'
import { App } from './app'

const storage = new Storage(() => localStorage)
const client = new Chat({ server: location.origin, storage })
ensureRoute(client.snapshot().rooms[0]?.name ?? DEFAULT_ROOM)

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <ChatContext value={{ client, store: new Store(client), storage }}>
        <App />
      </ChatContext>
    </StrictMode>,
  )
}
