/** What follows the network and the page. */
type Follower = { wake(): void; sleep(): void }

/** Tells when the network or the page comes and goes, if there is a page. Returns what undoes it. */
export function followBrowser(follower: Follower): () => void {
  const until = new AbortController()
  const on = (target: EventTarget, type: string, listener: () => void) =>
    target.addEventListener(type, listener, { signal: until.signal })
  if (typeof document !== 'undefined') {
    on(window, 'online', () => follower.wake())
    on(window, 'offline', () => follower.sleep())
    on(window, 'pageshow', () => follower.wake())
    on(document, 'visibilitychange', () => {
      if (document.visibilityState === 'visible') follower.wake()
    })
  }
  return () => until.abort()
}

export function isOnline(): boolean {
  return globalThis.navigator?.onLine !== false
}
