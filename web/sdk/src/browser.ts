/** What is told of the network and the page. */
type Listener = { wake(): void; sleep(): void }

/** Tells when the network or the page comes and goes, as far as there are such events: workers have no page. Returns what undoes it. */
export function followBrowser(listener: Listener): () => void {
  const until = new AbortController()
  const { signal } = until
  const wake = () => listener.wake()
  globalThis.addEventListener?.('online', wake, { signal })
  globalThis.addEventListener?.('offline', () => listener.sleep(), { signal })
  globalThis.addEventListener?.('pageshow', wake, { signal })
  globalThis.document?.addEventListener(
    'visibilitychange',
    () => {
      if (document.visibilityState === 'visible') listener.wake()
    },
    { signal },
  )
  return () => until.abort()
}

/** Calls back when the page is hidden or goes: nothing may run after that. Returns what undoes it. */
export function onHidden(then: () => void): () => void {
  const until = new AbortController()
  const { signal } = until
  globalThis.addEventListener?.('pagehide', then, { signal })
  globalThis.document?.addEventListener(
    'visibilitychange',
    () => {
      if (document.visibilityState === 'hidden') then()
    },
    { signal },
  )
  return () => until.abort()
}

export function isOnline(): boolean {
  return globalThis.navigator?.onLine !== false
}
