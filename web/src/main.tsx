import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from '@/app/app'
import { ChatContext } from '@/app/chat'
import { startRoute } from '@/app/route'
import { Store } from '@/app/store'
import { Chat, DEFAULT_ROOM, Storage } from 'hubbub-client'
import './styles.css'

const storage = new Storage(() => localStorage)
const client = new Chat({ server: location.origin, storage })
startRoute(client.snapshot().rooms[0]?.name ?? DEFAULT_ROOM)

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
