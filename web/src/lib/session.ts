import { randomId } from './random.ts'
import type { Storage } from './storage.ts'

const NAME = 'session'

/** The secret that makes a person the same sender everywhere. It is made once and kept. */
export class Session {
  #secret: string
  #isRenewed = false
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
    this.#secret = storage.read(NAME, isSecret) ?? randomId()
    storage.write(NAME, this.#secret)
  }

  get secret(): string {
    return this.#secret
  }

  set secret(secret: string) {
    this.#secret = secret
    this.#storage.write(NAME, secret)
  }

  /** Makes a new one, once. Says whether it did. */
  renew(): boolean {
    if (this.#isRenewed) return false
    this.#isRenewed = true
    this.secret = randomId()
    return true
  }
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{22}$/.test(value)
}
