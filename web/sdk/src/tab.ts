import { randomId } from './random.ts'

/** What is needed of `navigator.locks`. */
export type Locks = {
  request(name: string, options: { signal?: AbortSignal }, callback: () => Promise<void> | void): Promise<unknown>
}

/** This tab among those of the browser. It holds a lock of its name as long as it lives. */
export class Tab {
  readonly id = randomId()
  readonly #end = new AbortController()
  #locks: Locks | undefined

  constructor(locks?: Locks) {
    this.#locks = locks
    const { signal } = this.#end
    const held = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    locks?.request(lockOf(this.id), {}, () => held).catch((error: unknown) => this.#goWithout(error))
  }

  /** Whether it can be told which other tabs live. Browsers allow that on secure pages only. */
  get seesOthers(): boolean {
    return Boolean(this.#locks)
  }

  /** Calls back once another tab is gone; at once, where that cannot be told. */
  whenGone(id: string, then: () => void) {
    if (!this.#locks) {
      then()
      return
    }
    this.#locks.request(lockOf(id), { signal: this.#end.signal }, then).catch((error: unknown) => {
      if (this.#end.signal.aborted) return
      this.#goWithout(error)
      then()
    })
  }

  close() {
    this.#end.abort()
  }

  /** There are pages, in frames of others, that have locks and may not use them. */
  #goWithout(error: unknown) {
    if (!(error instanceof DOMException) || error.name !== 'SecurityError') throw error
    this.#locks = undefined
  }
}

function lockOf(id: string): string {
  return `hubbub.tab.${id}`
}
