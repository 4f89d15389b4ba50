import type { Socket } from './connection'
import { httpHistory, type History } from './history'
import { SUBPROTOCOL } from './protocol'

/** Where a client connects and asks for what was said earlier. */
export type Server = { open: () => Socket; history: History }

type SocketClass = new (address: string, protocol: string) => Socket

/** The server at this address, `http:` or `https:`. A WebSocket class is needed where the platform has none. */
export function serverAt(address: string | URL, WebSocket?: SocketClass): Server {
  const base = new URL(address)
  const socketAddress = new URL('/ws', base)
  socketAddress.protocol = base.protocol === 'https:' ? 'wss:' : 'ws:'
  return {
    open() {
      const Class: SocketClass = WebSocket ?? globalThis.WebSocket
      return new Class(socketAddress.href, SUBPROTOCOL)
    },
    history: httpHistory(base),
  }
}
