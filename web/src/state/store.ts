import type { Chat as Client, Snapshot } from 'hubbub-client'

/** Longer than a frame: hidden pages get no frames, and the title shall count on. */
const HIDDEN_MS = 250

/** What React sees of a client: at most one change a frame, however much is said. */
export class Store {
  #snapshot: Snapshot
  #isDue = false
  readonly #client: Client
  readonly #listeners = new Set<() => void>()

  constructor(client: Client) {
    this.#client = client
    this.#snapshot = client.snapshot()
    client.subscribe(() => this.#schedule())
  }

  readonly subscribe = (listener: () => void) => {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  readonly snapshot = () => this.#snapshot

  #schedule() {
    if (this.#isDue) return
    this.#isDue = true
    const frame = requestAnimationFrame(() => this.#publish(timeout, frame))
    const timeout = setTimeout(() => this.#publish(timeout, frame), HIDDEN_MS)
  }

  #publish(timeout: ReturnType<typeof setTimeout>, frame: number) {
    clearTimeout(timeout)
    cancelAnimationFrame(frame)
    this.#isDue = false
    this.#snapshot = this.#client.snapshot()
    for (const listener of this.#listeners) listener()
  }
}
