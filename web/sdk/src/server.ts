import type { Obstacle, Socket } from './connection.ts'
import { httpHistory, type History } from './history.ts'
import { SUBPROTOCOL } from './protocol.ts'

/** Where a client connects and asks for what was said earlier. */
export type Server = {
  open: () => Socket
  history: History
  /** Finds out why sockets do not open, as far as that can be told. */
  diagnose?: () => Promise<Obstacle | undefined>
}

type SocketClass = new (address: string, protocol: string) => Socket

/** By the scheme of the address: the schemes for HTTP and for the socket. */
const SCHEMES: Record<string, { http: string; socket: string }> = {
  'http:': { http: 'http:', socket: 'ws:' },
  'https:': { http: 'https:', socket: 'wss:' },
  'ws:': { http: 'http:', socket: 'ws:' },
  'wss:': { http: 'https:', socket: 'wss:' },
}

/**
 * The server at this address: `https:` or `wss:`, and without TLS `http:` or `ws:`. A path is where the server is hosted; that of the
 * socket itself, which ends in `/ws`, does too. A WebSocket class is needed where the platform has none.
 */
export function serverAt(address: string | URL, WebSocket?: SocketClass): Server {
  const { http, socket } = addressesOf(address)
  return {
    open() {
      const Class: SocketClass | undefined = WebSocket ?? globalThis.WebSocket
      if (!Class) throw new Error('There is no WebSocket here: start Node.js 20 with --experimental-websocket')
      return new Class(socket.href, SUBPROTOCOL)
    },
    history: httpHistory(http),
    diagnose: () => diagnose(new URL('ws', http)),
  }
}

function addressesOf(address: string | URL): { http: URL; socket: URL } {
  const base = new URL(address)
  const schemes = SCHEMES[base.protocol]
  if (!schemes) throw new TypeError(`The address of a server begins with https:, wss:, http: or ws:, not with ${base.protocol}`)
  const path = base.pathname.replace(/\/ws\/?$/, '/')
  const http = new URL(`${schemes.http}//${base.host}${path.endsWith('/') ? path : `${path}/`}`)
  const socket = new URL('ws', http)
  socket.protocol = schemes.socket
  if (schemes.socket === 'ws:' && !isLoopback(base.hostname)) warnOfPlainText(base.host)
  return { http, socket }
}

const warned = new Set<string>()

function warnOfPlainText(host: string) {
  if (warned.has(host)) return
  warned.add(host)
  console.warn(`The connection to ${host} is not encrypted: others on the way can read the session secret and all messages. Use https: or wss:`)
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127(\.\d+){3}$/.test(host)
}

const TIMEOUT_MS = 5000
/** What a server or a proxy answers for now, or until someone signs in. It says nothing about sockets. */
const PASSING = new Set([401, 407, 408, 425])
/** How the server itself words a refusal. Another 403 comes from something before it. */
const PROBLEM = 'application/problem+json'

/**
 * A socket that does not open does not say why, but the same address over HTTP may. It is asked with POST, for with a GET a browser
 * does not name the origin of a page to the page's own server.
 */
async function diagnose(address: URL): Promise<Obstacle | undefined> {
  let answer: Response
  try {
    answer = await fetch(address, { method: 'POST', cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch {
    // there is no answer, or one that a page of another origin may not read
    return undefined
  }
  const { status, headers } = answer
  if ((status === 403 || status === 421) && headers.get('content-type')?.startsWith(PROBLEM)) return 'origin_refused'
  if (status === 429) return 'address_full'
  // 426 is what the server itself says to whoever wants no socket
  return status < 200 || status >= 500 || PASSING.has(status) ? undefined : 'socket_blocked'
}
