const PREFIX = 'hubbub.'

type Area = Pick<globalThis.Storage, 'getItem' | 'setItem' | 'removeItem'>

/** JSON values under names, as far as the browser keeps them. Where it refuses, the page works on without. */
export class Storage {
  readonly #area: () => Area

  /** The area is asked for each time: where storage is forbidden, even naming `localStorage` throws. */
  constructor(area: () => Area) {
    this.#area = area
  }

  /** The stored value if `isValid` accepts it. */
  read<T>(name: string, isValid: (value: unknown) => value is T): T | undefined {
    try {
      const value: unknown = JSON.parse(this.#area().getItem(PREFIX + name) ?? 'null')
      return isValid(value) ? value : undefined
    } catch {
      return undefined
    }
  }

  write(name: string, value: unknown) {
    try {
      this.#area().setItem(PREFIX + name, JSON.stringify(value))
    } catch {
      // full or forbidden
    }
  }

  remove(name: string) {
    try {
      this.#area().removeItem(PREFIX + name)
    } catch {
      // forbidden
    }
  }
}

export function isString(value: unknown): value is string {
  return typeof value === 'string'
}
