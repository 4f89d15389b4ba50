import { AxeBuilder } from '@axe-core/playwright'
import type { BrowserContextOptions, Page } from '@playwright/test'
import { news, said, tellPast } from './past'
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

for (const [look, options] of LOOKS) {
  test(`everything that lies over the page is accessible in ${look}`, async ({ person, room }) => {
    test.slow()
    const ann = await person('Ann', { reducedMotion: 'reduce', ...options })
    const { page } = ann
    await tellPast(page, room, Array.from({ length: 40 }, (_, n) => said(n, room)))
    const wire = await Wire.tap(page)
    await ann.enter(room)
    await ann.say('```\ncode\n```\nand `more`')
    await expect(ann.log.locator('[data-state=sent]').last()).toBeVisible()
    await page.getByRole('button', { name: /How did it get here/ }).click()
    await expect(page.getByRole('dialog', { name: 'How this message got here' })).toBeVisible()
    await isClean(page)
    await page.keyboard.press('Escape')

    await page.keyboard.press('Control+k')
    await expect(page.getByRole('combobox')).toBeFocused()
    await isClean(page)
    await page.keyboard.press('Escape')

    await ann.log.focus()
    await page.keyboard.press('?')
    await expect(page.getByRole('dialog', { name: 'Keyboard' })).toBeVisible()
    await isClean(page)
    await page.keyboard.press('Escape')

    await page.getByRole('button', { name: 'Emoji' }).click()
    await expect(page.getByRole('gridcell', { name: 'grinning face', exact: true })).toBeVisible()
    await isClean(page)
    await page.keyboard.press('Escape')

    const people = page.getByRole('button', { name: 'People' })
    if (await people.isVisible()) {
      await people.click()
      await expect(page.getByRole('dialog', { name: 'People' })).toBeVisible()
      await isClean(page)
      await page.keyboard.press('Escape')
    }

    await ann.log.evaluate((log) => log.scrollTo({ top: 300 }))
    await expect(page.getByRole('button', { name: 'To the end' })).toBeVisible()
    wire.say(news(1, room))
    await expect(page.getByRole('button', { name: '1 new' })).toBeVisible()
    await isClean(page)
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
  await ann.say('hello')
  await expect(ann.row('hello')).toHaveAttribute('data-state', 'sent')
  for (const button of await ann.page.getByRole('button').all()) {
    const box = await button.boundingBox()
    const isInRow = (await button.locator('xpath=ancestor::*[@data-index]').count()) > 0
    expect(Math.min(box?.width ?? 0, box?.height ?? 0), await button.innerHTML()).toBeGreaterThanOrEqual(isInRow ? 24 : 44)
  }
  await ann.page.getByRole('button', { name: 'People' }).tap()
  const people = ann.page.getByRole('dialog', { name: 'People' })
  await expect(people.getByRole('listitem')).toHaveText([/Ann/])
  await people.getByRole('button', { name: 'Close' }).tap()
  await expect(people).toBeHidden()
})

test('320 px are wide enough for everything', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 320, height: 568 }, reducedMotion: 'reduce' })
  const fits = () => ann.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
  await ann.enter(room)
  await ann.say('a-word-without-any-place-to-break-it-'.repeat(5), `\`\`\`\nconst code = "${'x'.repeat(200)}"\n\`\`\``)
  await expect(ann.log.locator('[data-state=sent]')).toHaveCount(2)
  expect(await fits()).toBe(true)
  for (const name of ['Emoji', 'Rooms', 'People']) {
    await ann.page.getByRole('button', { name, exact: true }).click()
    await expect(ann.page.getByRole('dialog', { name })).toBeInViewport({ ratio: 0.99 })
    expect(await fits()).toBe(true)
    await ann.page.keyboard.press('Escape')
    await expect(ann.page.getByRole('dialog')).toHaveCount(0)
  }
})

test('nothing moves for those who want no motion', async ({ person, room }) => {
  const ann = await person('Ann', { reducedMotion: 'reduce' })
  await ann.enter(room)
  await ann.page.keyboard.press('Control+k')
  await expect(ann.page.getByRole('dialog')).toBeVisible()
  const durations = await ann.page.evaluate(() =>
    [...document.querySelectorAll('*')].flatMap((element) => {
      const { animationName, animationDuration, transitionDuration } = getComputedStyle(element)
      return [animationName === 'none' ? '0s' : animationDuration, transitionDuration]
    }),
  )
  expect(Math.max(...durations.map((duration) => Number.parseFloat(duration)))).toBeLessThan(0.001)
})

test('where colours are the system’s, what is chosen and what has the focus can still be told', async ({ person, room }) => {
  const ann = await person('Ann', { forcedColors: 'active' })
  await ann.enter(room)
  await ann.goTo(`${room}-2`)
  const rooms = ann.page.getByRole('navigation').getByRole('link')
  await expect(rooms).toHaveCount(2)
  const outlines = await rooms.evaluateAll((links) => links.map((link) => getComputedStyle(link).outlineStyle))
  expect(outlines).toEqual(['none', 'solid'])
  await ann.page.keyboard.press('Tab')
  const focus = await ann.page.locator(':focus').evaluate((element) => getComputedStyle(element).outlineStyle)
  expect(focus).toBe('solid')
})

test('text that runs from right to left does so in its own row only', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.say('صباح الخير', 'good morning')
  const direction = (text: string) => ann.row(text).getByTestId('body').locator('p').evaluate((body) => getComputedStyle(body).direction)
  expect(await direction('صباح الخير')).toBe('rtl')
  expect(await direction('good morning')).toBe('ltr')
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
  await expect(ann.log).toHaveAttribute('aria-live', 'off')
  await bob.say('hello')
  await expect(ann.page.locator('#announcer')).toHaveText('Bob: hello')
  await bob.say('one', 'two', 'three')
  await expect(ann.page.locator('#announcer')).toHaveText(/new messages/)
})
