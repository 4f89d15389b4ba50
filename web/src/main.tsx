import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from '@/app/app'
import { ChatContext } from '@/app/chat'
import { startRoute } from '@/app/route'
import { Store } from '@/app/store'
import { Client } from '@/lib/client'
import { fetchHistory } from '@/lib/history'
import { DEFAULT_ROOM, SUBPROTOCOL } from '@/lib/protocol'
import { Storage } from '@/lib/storage'
import { followBrowser } from '@/lib/wake'
import './styles.css'

const address = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`

const storage = new Storage(() => localStorage)
const client = new Client({
  socket: () => new WebSocket(address, SUBPROTOCOL),
  history: fetchHistory,
  storage,
  isOnline: () => navigator.onLine,
})
followBrowser(client)
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
