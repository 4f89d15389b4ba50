import { randomBytes } from 'node:crypto'
import {
  test as base,
  expect,
  type Browser,
  type BrowserContextOptions,
  type ConsoleMessage,
  type Locator,
  type Page,
  type WebSocketRoute,
} from '@playwright/test'

export { expect }

const HERE = process.env.HUBBUB_URL ?? 'http://127.0.0.1:8080'

/** The addresses of two instances, and of whatever stands before them. */
export const addresses = {
  here: HERE,
  a: process.env.HUBBUB_A ?? HERE,
  b: process.env.HUBBUB_B ?? HERE,
}

type Frame = { type: string; [field: string]: unknown }

/** A message as a page shows it. */
export type Line = { text: string; seq: number | undefined; state: string }

/** While a wire is cut, the page asks over HTTP why no socket opens, and the browser complains that there is no answer. */
function isOfCutWire(entry: ConsoleMessage): boolean {
  return entry.location().url.endsWith('/ws') && entry.text() === 'Failed to load resource: net::ERR_FAILED'
}

/** Someone with a browser of their own. */
export class Person {
  readonly page: Page
  readonly name: string
  readonly errors: string[] = []

  constructor(page: Page, name: string) {
    this.page = page
    this.name = name
    page.on('pageerror', (error) => this.errors.push(error.message))
    page.on('console', (entry) => {
      if (entry.type() === 'error' && !isOfCutWire(entry)) this.errors.push(entry.text())
    })
  }

  get log(): Locator {
    return this.page.getByRole('log')
  }

  get composer(): Locator {
    return this.page.getByRole('textbox', { name: /^Message in / })
  }

  get count(): Locator {
    return this.page.getByTestId('count')
  }

  /** The row of the message with this text. */
  row(text: string): Locator {
    return this.log.locator('[data-state]').filter({ has: this.page.getByTestId('body').getByText(text, { exact: true }) })
  }

  async enter(room: string, address = addresses.here) {
    await this.page.goto(`${address}/#/r/${room}`)
    await this.page.getByLabel('Your name').fill(this.name)
    await this.page.getByRole('button', { name: 'Join' }).click()
    await expect(this.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)
    await this.isLive()
  }

  /** Shows another room, by its address. */
  async goTo(room: string) {
    await this.page.evaluate((name) => location.assign(`#/r/${name}`), room)
    await expect(this.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)
  }

  /** Another tab of the same browser, at the same address. */
  async newTab(): Promise<Person> {
    const tab = new Person(await this.page.context().newPage(), this.name)
    await tab.page.goto(this.page.url())
    await tab.isLive()
    return tab
  }

  async isLive() {
    await expect(this.count).toHaveAccessibleName(/online$/)
    await expect(this.page.getByTestId('count').locator('[data-live=true]')).toBeAttached()
  }

  async say(...texts: string[]) {
    for (const text of texts) {
      await this.composer.fill(text)
      await this.composer.press('Enter')
    }
  }

  /** Says a lot at once, on a connection beside the page's own. */
  async flood(room: string, texts: readonly string[]) {
    await this.page.evaluate(
      async ([name, target, bodies]) => {
        const socket = new WebSocket(`ws://${location.host}/ws`)
        const said = (frame: object) => socket.send(JSON.stringify(frame))
        let acks = 0
        await new Promise<void>((resolve) => {
          socket.onopen = () => said({ type: 'hello', name, rooms: [target] })
          socket.onmessage = ({ data }) => {
            const { type } = JSON.parse(data)
            if (type === 'live') for (const [n, body] of bodies.entries()) said({ type: 'publish', id: `m${n}`, room: target, body })
            if (type === 'ack') acks += 1
            if (acks === bodies.length) resolve()
          }
        })
        socket.close()
      },
      [this.name, room, texts] as const,
    )
  }

  /** The page comes to show these messages and no others, from first to last. */
  async sees(texts: readonly string[]) {
    await expect.poll(async () => (await this.lines()).map(({ text }) => text)).toEqual([...texts])
  }

  /** The places of the confirmed messages, from top to bottom. */
  async seqs(): Promise<number[]> {
    return (await this.lines()).flatMap(({ seq }) => seq ?? [])
  }

  /** All messages of the room: only those in view are in the document, so the list is scrolled through once. */
  async lines(): Promise<Line[]> {
    return this.log.evaluate(async (log) => {
      const lines = new Map<number, Line>()
      const see = async (top: number) => {
        log.scrollTo({ top })
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))
      }
      do await see(0)
      while (/Load earlier|Loading…/.test(log.textContent))
      await see(0)
      for (let isAtEnd = false; !isAtEnd; await see(log.scrollTop + log.clientHeight / 2)) {
        for (const row of log.querySelectorAll<HTMLElement>('[data-index]')) {
          const message = row.querySelector<HTMLElement>('[data-state]')
          const text = row.querySelector('[data-testid=body]')?.textContent ?? ''
          const seq = message?.dataset.seq === undefined ? undefined : Number(message.dataset.seq)
          lines.set(Number(row.dataset.index), { text, seq, state: message?.dataset.state ?? '' })
        }
        isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 2
      }
      return [...lines].toSorted(([a], [b]) => a - b).map(([, line]) => line)
    })
  }

  /** The name of the instance that serves this page. */
  async instance(): Promise<string> {
    await this.count.click()
    const instance = await this.page.locator('dt', { hasText: /^Server$/ }).locator('+ dd').textContent()
    await this.page.keyboard.press('Escape')
    return instance ?? ''
  }
}

/** The wire between a page and its server, which a test can hold, cut and speak on. */
export class Wire {
  /** How often the page connected. */
  attempts = 0
  /** While set, the page reaches no server. */
  isCut = false
  /** What the page says; `undefined` keeps the frame from the server. */
  filter: (frame: Frame) => Frame | undefined = (frame) => frame
  /** What the server says; `undefined` keeps the frame from the page. */
  answers: (frame: Frame) => Frame | undefined = (frame) => frame
  #socket: WebSocketRoute | undefined
  /** The sockets whose frames get lost on the way, without a word to either side. */
  readonly #holes = new Set<WebSocketRoute>()

  static async tap(page: Page): Promise<Wire> {
    const wire = new Wire()
    await page.routeWebSocket(/\/ws$/, (socket) => wire.#attach(socket))
    await page.route(/\/ws$/, (route) => (wire.isCut ? route.abort() : route.fallback()))
    return wire
  }

  /** Says something to the page in the server's name. */
  say(frame: Frame) {
    this.#socket?.send(JSON.stringify(frame))
  }

  /** Pulls the cable: nothing comes through the socket any more, and nobody is told. */
  pull() {
    if (this.#socket) this.#holes.add(this.#socket)
  }

  async close(code: number) {
    await this.#socket?.close({ code })
  }

  #attach(socket: WebSocketRoute) {
    this.attempts += 1
    this.#socket = socket
    if (this.isCut) {
      void socket.close({ code: 1001 })
      return
    }
    const server = socket.connectToServer()
    server.onMessage((data) => {
      const frame = this.#holes.has(socket) ? undefined : this.answers(JSON.parse(String(data)))
      if (frame) socket.send(JSON.stringify(frame))
    })
    socket.onMessage((data) => {
      if (this.#holes.has(socket)) return
      const frame = this.filter(JSON.parse(String(data)))
      if (frame) server.send(JSON.stringify(frame))
    })
  }
}

type Fixtures = {
  room: string
  /** Whether the browser may complain, as it does about each connection that fails. */
  mayComplain: boolean
  person: (name: string, options?: BrowserContextOptions) => Promise<Person>
}

export const test = base.extend<Fixtures>({
  mayComplain: [false, { option: true }],
  // oxlint-disable-next-line no-empty-pattern -- Playwright reads from the pattern what the fixture needs
  room: async ({}, provide) => {
    await provide(`e2e-${randomBytes(6).toString('hex')}`)
  },
  person: async ({ browser, mayComplain }, provide) => {
    const people: Person[] = []
    await provide(async (name, options) => {
      const person = new Person(await newPage(browser, options), name)
      people.push(person)
      return person
    })
    await Promise.all(people.map(({ page }) => page.context().close()))
    if (!mayComplain) expect(people.flatMap(({ errors }) => errors)).toEqual([])
  },
})

async function newPage(browser: Browser, options?: BrowserContextOptions): Promise<Page> {
  const context = await browser.newContext({ locale: 'en-GB', ...options })
  return context.newPage()
}
