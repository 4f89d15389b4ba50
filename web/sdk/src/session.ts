import { randomId } from './random.ts'
import type { Storage } from './storage.ts'

const NAME = 'session'

/** The secret that makes a person the same sender everywhere. It is given, or made once, and kept. */
export class Session {
  #secret: string
  /** Who gave a secret wants to be that sender, and no other. */
  #isRenewable: boolean
  readonly #storage: Storage

  constructor(storage: Storage, given?: string) {
    this.#storage = storage
    this.#isRenewable = given === undefined
    this.#secret = given ?? storage.read(NAME, isSecret) ?? randomId()
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
    if (!this.#isRenewable) return false
    this.#isRenewable = false
    this.secret = randomId()
    return true
  }
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{22}$/.test(value)
}
