import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Chat, DEFAULT_ROOM, Storage } from 'hubbub-client'
import { ChatContext } from '@/state/chat'
import { ensureRoute } from '@/state/route'
import { Store } from '@/state/store'
import '@/ui/styles.css'
import { App } from './app'

/** Where the page is hosted: the root of an origin, or a directory below it. Each has its own server, and people of its own. */
const home = new URL('.', location.href)
// `public/theme.js` reads the theme under the same name
const storage = new Storage(() => localStorage, `hubbub${home.pathname === '/' ? '' : home.pathname}.`)
const client = new Chat({ server: home, storage })
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
