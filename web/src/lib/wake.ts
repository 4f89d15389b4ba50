import type { Client } from './client'

/** Lets a client know when the network or the page comes and goes. Returns what undoes it. */
export function followBrowser(client: Client): () => void {
  const until = new AbortController()
  const on = (target: EventTarget, type: string, listener: () => void) =>
    target.addEventListener(type, listener, { signal: until.signal })
  on(window, 'online', () => client.wake())
  on(window, 'offline', () => client.sleep())
  on(window, 'pageshow', () => client.wake())
  on(document, 'visibilitychange', () => {
    if (document.visibilityState === 'visible') client.wake()
  })
  return () => until.abort()
}
