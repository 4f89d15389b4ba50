/** What is needed of `localStorage`. */
type Area = {
  readonly length: number
  key(index: number): string | null
  getItem(name: string): string | null
  setItem(name: string, value: string): void
  removeItem(name: string): void
}

/** JSON values under names, as far as the browser keeps them. Where it refuses, the page works on without, and can say so. */
export class Storage {
  readonly #area: () => Area
  readonly #prefix: string

  /**
   * The area is asked for each time: where storage is forbidden, even naming `localStorage` throws. All names in it begin with the prefix, so
   * that several chats at one origin do not meddle with each other.
   */
  constructor(area: () => Area, prefix = 'hubbub.') {
    this.#area = area
    this.#prefix = prefix
  }

  /** The stored value if `isValid` accepts it. */
  read<T>(name: string, isValid: (value: unknown) => value is T): T | undefined {
    try {
      const value: unknown = JSON.parse(this.#area().getItem(this.#prefix + name) ?? 'null')
      return isValid(value) ? value : undefined
    } catch {
      return undefined
    }
  }

  /** Says whether it is kept now: the storage may be full or forbidden. */
  write(name: string, value: unknown): boolean {
    try {
      this.#area().setItem(this.#prefix + name, JSON.stringify(value))
      return true
    } catch {
      return false
    }
  }

  remove(name: string) {
    try {
      this.#area().removeItem(this.#prefix + name)
    } catch {
      // forbidden
    }
  }

  /** The names that begin like this. */
  names(beginning: string): string[] {
    try {
      const area = this.#area()
      const names = Array.from({ length: area.length }, (_, index) => area.key(index) ?? '')
      return names.filter((name) => name.startsWith(this.#prefix + beginning)).map((name) => name.slice(this.#prefix.length))
    } catch {
      return []
    }
  }

  /** Calls back with the name of what another tab changed, until the returned function is called. */
  watch(listener: (name: string) => void): () => void {
    const onStorage = ({ key }: StorageEvent) => {
      if (key?.startsWith(this.#prefix)) listener(key.slice(this.#prefix.length))
    }
    globalThis.addEventListener?.('storage', onStorage)
    return () => globalThis.removeEventListener?.('storage', onStorage)
  }
}

/** A storage that lives as long as the program. */
export function memoryStorage(): Storage {
  const values = new Map<string, string>()
  const area: Area = {
    getItem: (name) => values.get(name) ?? null,
    setItem: (name, value) => void values.set(name, value),
    removeItem: (name) => void values.delete(name),
    key: (index) => [...values.keys()][index] ?? null,
    get length() {
      return values.size
    },
  }
  return new Storage(() => area)
}
