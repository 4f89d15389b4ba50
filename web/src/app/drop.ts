import { useEffect } from 'react'

const FIELD = 'input, textarea'

/** Keeps what is dropped on the page from taking its place: a browser opens files and links. Text may be dropped where one writes. */
export function useNoDrop() {
  useEffect(() => {
    const until = new AbortController()
    const refuse = (event: DragEvent) => {
      const isFile = event.dataTransfer?.types.includes('Files') ?? false
      if (!isFile && event.target instanceof Element && event.target.closest(FIELD)) return
      event.preventDefault()
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'none'
    }
    for (const type of ['dragover', 'drop'] as const) window.addEventListener(type, refuse, { signal: until.signal })
    return () => until.abort()
  }, [])
}
