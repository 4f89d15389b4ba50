import { news } from './past'
import { expect, test, Wire, type Person } from './person'

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }

/** What is too small for a finger. Inside a message 24 px are enough, for there the lines are close. */
async function smallTargets({ page }: Person): Promise<string[]> {
  return page.locator('button:visible, a[href]:visible, input:visible, textarea:visible').evaluateAll((targets) =>
    targets.flatMap((target) => {
      const { width, height } = target.getBoundingClientRect()
      const isInText = target.closest('p') !== null
      const least = isInText ? 0 : target.closest('[data-index]') ? 24 : 44
      return Math.round(Math.min(width, height)) < least ? [`${target.outerHTML.slice(0, 200)} is ${width} × ${height}`] : []
    }),
  )
}

test('on a phone the rooms are in a drawer and everything can be touched', async ({ person, room }) => {
  const ann = await person('Ann', PHONE)
  const fits = () => ann.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)
  await ann.page.goto(`/#/r/${room}`)
  await expect(ann.page.getByLabel('Your name')).toBeVisible()
  expect(await smallTargets(ann)).toEqual([])
  await ann.enter(room)
  await ann.page.getByRole('button', { name: 'Rooms' }).tap()
  const drawer = ann.page.getByRole('dialog', { name: 'Rooms' })
  await expect(drawer).toBeVisible()
  expect(await smallTargets(ann)).toEqual([])
  await drawer.getByLabel('Join or create a room').fill(`${room}-2`)
  await drawer.getByRole('button', { name: 'Join' }).tap()
  await expect(drawer).toBeHidden()
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-2`)
  await ann.say('hello', 'x '.repeat(1500))
  await expect(ann.row('hello')).toHaveAttribute('data-state', 'sent')
  await expect(ann.page.getByRole('button', { name: 'Show more' })).toBeVisible()
  expect(await smallTargets(ann)).toEqual([])
  expect(await fits()).toBe(true)
  await ann.page.getByRole('button', { name: 'People' }).tap()
  const people = ann.page.getByRole('dialog', { name: 'People' })
  await expect(people.getByRole('listitem')).toHaveText([/Ann/])
  expect(await smallTargets(ann)).toEqual([])
  await people.getByRole('button', { name: 'Close' }).tap()
  await expect(people).toBeHidden()
  await ann.page.getByRole('button', { name: 'Rooms' }).tap()
  await drawer.getByRole('button', { name: 'Close' }).tap()
  await expect(drawer).toBeHidden()

  const wire = await Wire.tap(ann.page)
  await ann.page.reload()
  await ann.isLive()
  wire.say(news(1, room))
  await expect(ann.page.getByRole('button', { name: 'Rooms' })).toHaveAccessibleName('Rooms 1 unread in other rooms')
})

test('a press beside a dialog closes it and nothing else, and one on its edge leaves it open', async ({ person, room }) => {
  const ann = await person('Ann', { ...PHONE, reducedMotion: 'reduce' })
  const { page } = ann
  await ann.enter(room)
  const below = await page.getByRole('button', { name: 'People' }).boundingBox()
  await page.getByRole('button', { name: 'Rooms' }).tap()
  const drawer = page.getByRole('dialog', { name: 'Rooms' })
  await expect(drawer).toBeVisible()
  await page.touchscreen.tap((below?.x ?? 0) + 20, (below?.y ?? 0) + 20)
  await expect(drawer).toBeHidden()
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
  await expect(page.getByRole('dialog')).toHaveCount(0)

  await page.getByRole('button', { name: 'Rooms' }).tap()
  await drawer.getByRole('button', { name: /Change your name/ }).tap()
  const dialog = page.getByRole('dialog', { name: 'Change your name' })
  await dialog.getByRole('textbox').fill('Ann of the many words')
  const box = await dialog.boundingBox()
  await page.touchscreen.tap((box?.x ?? 0) + 5, (box?.y ?? 0) + 5)
  await expect(dialog.getByRole('textbox')).toHaveValue('Ann of the many words')
  await page.touchscreen.tap((box?.x ?? 0) + 5, (box?.y ?? 0) - 20)
  await expect(dialog).toBeHidden()
})

test('nothing lies under the notch of a phone, nor under the bar at its bottom', async ({ person, room }) => {
  const ann = await person('Ann', { ...PHONE, viewport: { width: 740, height: 360 }, reducedMotion: 'reduce' })
  await ann.enter(room)
  const devtools = await ann.page.context().newCDPSession(ann.page)
  await devtools.send('Emulation.setSafeAreaInsetsOverride', { insets: { top: 10, left: 50, right: 40, bottom: 30 } })
  const inside = async (names: readonly string[]) => {
    for (const name of names) {
      const box = await ann.page.getByRole('button', { name, exact: true }).last().boundingBox()
      const { x = 0, y = 0, width = 0, height = 0 } = box ?? {}
      expect.soft([x >= 50, y >= 10, x + width <= 700, y + height <= 330], `${name} at ${JSON.stringify(box)}`).toEqual([true, true, true, true])
    }
  }
  await inside(['Rooms', 'People', 'Send', 'Emoji'])
  await ann.page.getByRole('button', { name: 'Rooms', exact: true }).tap()
  await expect(ann.page.getByRole('dialog', { name: 'Rooms' })).toBeVisible()
  await inside(['Search', 'Close', 'Join', 'Theme: System'])
  await ann.page.getByRole('button', { name: 'Close' }).tap()
  await ann.page.getByRole('button', { name: 'People' }).tap()
  await expect(ann.page.getByRole('dialog', { name: 'People' })).toBeVisible()
  await inside(['Close'])
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

for (const viewport of [{ width: 740, height: 360 }, { width: 320, height: 256 }]) {
  test(`${viewport.width} × ${viewport.height} px are enough for what lies over the page`, async ({ person, room }) => {
    const ann = await person('Ann', { viewport, reducedMotion: 'reduce' })
    await ann.enter(room)
    await ann.composer.fill('line\n'.repeat(20))
    await ann.page.getByRole('button', { name: 'Emoji' }).click()
    await expect(ann.page.getByRole('dialog', { name: 'Emoji' })).toBeInViewport({ ratio: 0.99 })
    await ann.page.keyboard.press('Escape')
    await ann.count.click()
    await expect(ann.page.locator('[popover]')).toBeInViewport({ ratio: 0.99 })
  })
}

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

/** The classes that the page has in its frames, from the first with a body, and the colours behind it. */
async function watchTheme({ page }: Person): Promise<() => Promise<string[]>> {
  await page.addInitScript(() => {
    const looks: string[] = []
    Object.assign(window, { looks })
    const note = () => {
      if (document.body) {
        const { colorScheme } = getComputedStyle(document.documentElement)
        const look = `${document.documentElement.className} ${colorScheme}`.trim()
        if (!looks.includes(look)) looks.push(look)
      }
      requestAnimationFrame(note)
    }
    note()
  })
  return () => page.evaluate(() => (window as unknown as { looks: string[] }).looks)
}

test('the theme is the system’s until one is chosen, and is there before the first paint', async ({ person, room }) => {
  const ann = await person('Ann', { colorScheme: 'dark' })
  const { page } = ann
  const html = page.locator('html')
  await ann.enter(room)
  await expect(html).toHaveClass('dark')
  await page.getByRole('button', { name: 'Theme: System' }).click()
  await expect(html).not.toHaveClass('dark')
  await page.getByRole('button', { name: 'Theme: Light' }).click()
  await expect(html).toHaveClass('dark')

  const looks = await watchTheme(ann)
  // the page is painted without the app, which would set the theme by itself
  let isHeld = true
  await page.route('**/assets/index-*.js', async (route) => {
    await expect.poll(() => isHeld, { timeout: 30_000 }).toBe(false)
    await route.fallback()
  })
  for (const colorScheme of ['light', 'dark'] as const) {
    isHeld = true
    await page.emulateMedia({ colorScheme })
    await page.reload({ waitUntil: 'commit' })
    await page.waitForFunction(() => performance.getEntriesByName('first-paint').length > 0)
    expect(await looks(), colorScheme).toEqual(['dark dark'])
    isHeld = false
    await expect(page.getByRole('button', { name: 'Theme: Dark' })).toBeVisible()
    expect(await looks(), colorScheme).toEqual(['dark dark'])
  }

  await page.getByRole('button', { name: 'Theme: Dark' }).click()
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await page.reload()
    await expect(page.getByRole('button', { name: 'Theme: System' })).toBeVisible()
    expect(await looks()).toEqual([colorScheme === 'dark' ? 'dark dark' : 'light'])
  }
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

test('what was not sent is announced, once', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.say({ type: 'error', code: 'body_too_large', detail: 'body is larger than 8192 bytes', id: frame.id })
    return undefined
  }
  await ann.say('one')
  await expect(ann.page.locator('#announcer')).toHaveText('Not sent: This message is too long.')
  await expect(ann.row('one').getByRole('button', { name: 'Retry' })).toBeVisible()
  await expect(ann.log.locator('[role=alert], [role=status], [aria-live=polite], [aria-live=assertive]')).toHaveCount(0)
})
