import type { Page } from '@playwright/test'
import { addresses, expect, test, Wire } from './person'

test.use({ mayComplain: true })

test('where too many connections come from one address, the page says so and comes in when there is room', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  let isFull = true
  wire.filter = (frame) => {
    if (frame.type !== 'hello' || !isFull) return frame
    void wire.close(4004)
    return undefined
  }
  await wire.close(1001)
  const banner = ann.page.getByText('This network has too many open connections to the server.')
  await expect(banner).toContainText(/Reconnecting in \d+ s…/)
  const { attempts } = wire
  await expect.poll(() => wire.attempts, { timeout: 15_000 }).toBeGreaterThan(attempts)
  await expect(banner).toBeVisible()
  isFull = false
  await ann.page.getByRole('button', { name: 'Try now' }).click()
  await ann.isLive()
  await expect(banner).toBeHidden()
})

test('whoever has too many connections can try again, once others are closed', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await wire.close(4501)
  await expect(ann.page.getByText('Close other tabs or devices, then try again.')).toBeVisible()
  await ann.say('kept')
  await ann.page.getByRole('button', { name: 'Try now' }).click()
  await ann.isLive()
  await expect(ann.row('kept')).toHaveAttribute('data-state', 'sent')
})

const { HUBBUB_PORTLESS, HUBBUB_NO_UPGRADE } = process.env

/** Comes to a page that gets no connection. */
async function comeTo(page: Page, address: string, room: string) {
  await page.goto(`${address}/#/r/${room}`)
  await page.getByLabel('Your name').fill('Ann')
  await page.getByRole('button', { name: 'Join' }).click()
}

const REFUSED = 'The server doesn’t accept connections from '
const BLOCKED = 'The server answers, but live connections don’t get through.'

for (const [what, address, says] of [
  ['passes the host without its port', HUBBUB_PORTLESS, REFUSED],
  ['does not let WebSockets through', HUBBUB_NO_UPGRADE, BLOCKED],
] as const) {
  test(`behind an nginx that ${what}, the page says what is wrong`, async ({ person, room }) => {
    test.skip(address === undefined, 'there is no nginx')
    const { page } = await person('Ann')
    await comeTo(page, address ?? '', room)
    const banner = page.getByText(says)
    await expect(banner).toBeVisible({ timeout: 15_000 })
    await expect(banner).toContainText(/Reconnecting/)
  })
}

for (const status of [403, 421]) {
  test(`a server that answers ${status} to the page’s address is said to refuse it, until it does not`, async ({ person, room }) => {
    const ann = await person('Ann')
    const wire = await Wire.tap(ann.page)
    await ann.enter(room)
    await ann.page.route(/\/ws$/, (route) => route.fulfill({ status, contentType: 'application/problem+json', body: '{}' }))
    wire.isCut = true
    await wire.close(1006)
    const banner = ann.page.getByText(`${REFUSED}${new URL(addresses.here).host}.`)
    await expect(banner).toBeVisible({ timeout: 15_000 })
    wire.isCut = false
    await ann.isLive()
    await expect(banner).toBeHidden()
  })
}
