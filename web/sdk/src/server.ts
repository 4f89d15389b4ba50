import type { Socket } from './connection.ts'
import { httpHistory, type History } from './history.ts'
import { SUBPROTOCOL } from './protocol.ts'

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
      const Class: SocketClass | undefined = WebSocket ?? globalThis.WebSocket
      if (!Class) throw new Error('There is no WebSocket here: start Node.js 20 with --experimental-websocket')
      return new Class(socketAddress.href, SUBPROTOCOL)
    },
    history: httpHistory(base),
  }
}
