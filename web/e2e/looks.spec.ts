import { AxeBuilder } from '@axe-core/playwright'
import type { BrowserContextOptions, Page } from '@playwright/test'
import { expect, test, Wire } from './person'

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

async function isClean(page: Page) {
  // what fades in has its colours only when it is there
  await page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)))
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze()
  expect(violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))).toEqual([])
}

const LOOKS: [string, BrowserContextOptions][] = [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['light on a phone', { colorScheme: 'light', viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
  ['dark on a phone', { colorScheme: 'dark', viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }],
]

for (const [look, options] of LOOKS) {
  test(`every state of the page is accessible in ${look}`, async ({ person, room }) => {
    test.slow()
    const ann = await person('Ann', { reducedMotion: 'reduce', ...options })
    const wire = await Wire.tap(ann.page)
    await ann.page.goto(`/#/r/${room}`)
    await isClean(ann.page)

    await ann.enter(room)
    await isClean(ann.page)

    await ann.say('hello', `a link https://example.org/${'x'.repeat(300)}`)
    await expect(ann.log.locator('[data-state=sent]')).toHaveCount(2)
    wire.filter = (frame) => {
      if (frame.type !== 'publish') return frame
      if (frame.body === 'failed') wire.say({ type: 'error', code: 'body_too_large', detail: 'too long', id: frame.id })
      return undefined
    }
    await ann.say('failed', 'pending')
    await expect(ann.row('failed')).toHaveAttribute('data-state', 'failed')
    wire.say({ type: 'status', relay: 'degraded' })
    wire.say({ type: 'typing', room, from: [{ id: 'bob', name: 'Bob' }] })
    await ann.count.click()
    await isClean(ann.page)
    await ann.page.keyboard.press('Escape')

    const menu = ann.page.getByRole('button', { name: 'Rooms' })
    const isPhone = await menu.isVisible()
    if (isPhone) await menu.click()
    await ann.page.getByRole('button', { name: /Change your name/ }).last().click()
    await isClean(ann.page)
    await ann.page.keyboard.press('Escape')
    if (isPhone) {
      await isClean(ann.page)
      await ann.page.keyboard.press('Escape')
    }

    wire.isCut = true
    await wire.close(1001)
    await expect(ann.page.getByText(/Trying again in \d+ s/)).toBeVisible()
    await isClean(ann.page)
    expect(await ann.page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true)
  })
}

test('on a phone the rooms are in a drawer and everything can be touched', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
  await ann.enter(room)
  await ann.page.getByRole('button', { name: 'Rooms' }).tap()
  const drawer = ann.page.getByRole('dialog', { name: 'Rooms' })
  await drawer.getByLabel('Join a room').fill(`${room}-2`)
  await drawer.getByRole('button', { name: 'Join' }).tap()
  await expect(drawer).toBeHidden()
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-2`)
  for (const button of await ann.page.getByRole('button').all()) {
    const box = await button.boundingBox()
    expect(Math.min(box?.width ?? 0, box?.height ?? 0), await button.innerHTML()).toBeGreaterThanOrEqual(44)
  }
})

test('the theme is the system’s until one is chosen, and that is kept', async ({ person, room }) => {
  const ann = await person('Ann', { colorScheme: 'dark' })
  await ann.enter(room)
  const page = ann.page.locator('html')
  await expect(page).toHaveClass('dark')
  await ann.page.getByRole('button', { name: 'Theme: system' }).click()
  await expect(page).not.toHaveClass('dark')
  await ann.page.reload({ waitUntil: 'commit' })
  await ann.page.waitForFunction(() => document.body)
  await expect(page).not.toHaveClass('dark', { timeout: 0 })
  await expect(ann.page.getByRole('button', { name: 'Theme: light' })).toBeVisible()
})

test('new messages are announced, a few seconds’ worth at a time', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room)
  await bob.enter(room)
  await ann.page.waitForTimeout(3500)
  await expect(ann.log).toHaveAttribute('aria-live', 'off')
  await bob.say('hello')
  await expect(ann.page.locator('#announcer')).toHaveText('Bob: hello')
  await bob.say('one', 'two', 'three')
  await expect(ann.page.locator('#announcer')).toHaveText(/new messages/)
})
