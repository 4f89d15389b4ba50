import { randomId } from './random.ts'
import type { Storage } from './storage.ts'

const NAME = 'session'

/** The secret that makes a person the same sender everywhere. It is made once and kept. */
export class Session {
  #secret: string
  readonly #storage: Storage

  constructor(storage: Storage) {
    this.#storage = storage
    this.#secret = storage.read(NAME, isSecret) ?? this.renew()
  }

  get secret(): string {
    return this.#secret
  }

  set secret(secret: string) {
    this.#secret = secret
    this.#storage.write(NAME, secret)
  }

  renew(): string {
    this.secret = randomId()
    return this.#secret
  }
}

function isSecret(value: unknown): value is string {
  return typeof value === 'string' && /^[\w-]{22}$/.test(value)
}
