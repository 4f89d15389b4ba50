import { PublishError, type Receipt } from './courier.ts'

type Waiting = { resolve: (receipt: Receipt) => void; reject: (error: PublishError) => void }

/** The receipts that were promised, by the id of the message. Each promise settles once. */
export class Promises {
  readonly #waiting = new Map<string, Waiting>()

  create(id: string): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
    })
  }

  resolve(receipt: Receipt) {
    this.#waiting.get(receipt.id)?.resolve(receipt)
    this.#waiting.delete(receipt.id)
  }

  reject(id: string, code: PublishError['code'], detail: string) {
    this.#waiting.get(id)?.reject(new PublishError(code, detail))
    this.#waiting.delete(id)
  }

  rejectAll(code: PublishError['code'], detail: string) {
    for (const id of this.#waiting.keys()) this.reject(id, code, detail)
  }
}
