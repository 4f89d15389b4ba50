type Listener<T> = (value: T) => void

/** Listeners by the name of the event that they listen for. */
export class Emitter<Events> {
  readonly #listeners: { [Name in keyof Events]?: Set<Listener<Events[Name]>> } = {}

  /** Calls back at every event of this name, until the returned function is called. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const listeners = (this.#listeners[name] ??= new Set())
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
    }
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]) {
    for (const listener of this.#listeners[name] ?? []) {
      try {
        listener(value)
      } catch (error) {
        // the fault of one listener is nobody else's, and still not to be missed
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
