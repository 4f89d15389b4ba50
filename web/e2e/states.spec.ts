import { join } from 'node:path'
import axe from 'axe-core'
import { rooms } from '../../examples/demo/conversation.mjs'
import { news, said, tellPast, type Said } from './past'
import { expect, test, Wire, type Person } from './person'

test.use({ mayComplain: true })
// each of them takes long, and they are the last
test.describe.configure({ mode: 'parallel' })

declare global {
  interface Window {
    axe: typeof axe
  }
}

type Scheme = 'light' | 'dark'

const CONTRAST = ['color-contrast']
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const DESK = { width: 1280, height: 800 }
const TABLET = { width: 768, height: 1024 }
const PHONE = { width: 360, height: 740 }
const SIZES = [DESK, TABLET, PHONE]
/** A directory for a picture of each state in each look, for whoever wants to see them all. */
const { GALLERY } = process.env

const MINUTE = 60_000
const ROOM = 'lobby'
const OTHERS = ['rust', 'kitchen', 'book-club'] as const

/** What the demo says in a room, the last of it just now and the first yesterday. */
function conversation(room: keyof typeof rooms): Said[] {
  const lines = rooms[room].split('\n').filter((line) => line.trim() !== '')
  return lines.map((line, n) => {
    const [name = '', ...text] = line.split(': ')
    const passed = (lines.length - n) * 2 + (n < 8 ? 24 * 60 : 0)
    const body = text.join(': ').replaceAll(String.raw`\n`, '\n')
    return said(n, room, { body, from: { id: `id-of-${name}`, name }, at: Date.now() - passed * MINUTE })
  })
}

/** Ann, in a room with much to read, and the wire to her server. */
async function comeIn(person: (name: string, options: object) => Promise<Person>): Promise<[Person, Wire]> {
  const ann = await person('Ann', { reducedMotion: 'reduce', viewport: DESK })
  for (const room of [ROOM, ...OTHERS] as const) await tellPast(ann.page, room, conversation(room))
  const wire = await Wire.tap(ann.page)
  await ann.enter(ROOM)
  await expect(ann.log.locator('[data-index]').last()).toBeVisible()
  return [ann, wire]
}

/** What axe finds: all there is in light, and what another theme can change in dark. */
async function violations({ page }: Person, scheme: Scheme): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe.source)
  return page.evaluate(
    async (runOnly) => {
      const { violations: found } = await window.axe.run({ runOnly, resultTypes: ['violations'] })
      return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
    },
    scheme === 'light' ? TAGS : CONTRAST,
  )
}

/** The page in this state is accessible in both themes and at each size, and no wider than the window. */
async function isFit(ann: Person, state: string, sizes = SIZES, open?: () => Promise<void>) {
  const { page } = ann
  for (const size of sizes) {
    await page.setViewportSize(size)
    await open?.()
    for (const colorScheme of ['light', 'dark'] as const) {
      const look = `${state}, ${size.width} px, ${colorScheme}`
      await page.emulateMedia({ colorScheme })
      // what fades in has its colours only when it is there
      await page.waitForFunction(
        (isDark) =>
          document.documentElement.classList.contains('dark') === isDark &&
          document.getAnimations().every(({ playState }) => playState !== 'running'),
        colorScheme === 'dark',
      )
      if (GALLERY) await page.screenshot({ path: join(GALLERY, `${look.replaceAll(/[^\w]+/g, '-')}.png`) })
      expect.soft(await violations(ann, colorScheme), look).toEqual([])
    }
    expect.soft(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), state).toBeLessThanOrEqual(0)
    if (open) await page.keyboard.press('Escape')
  }
  await page.setViewportSize(DESK)
}

test.beforeEach(() => test.slow())

test('coming in, and rooms with nothing in them', async ({ person, room }) => {
  const ann = await person('Ann', { reducedMotion: 'reduce' })
  const { page } = ann
  await page.goto(`/#/r/${room}`)
  await expect(page.getByLabel('Your name')).toBeFocused()
  await isFit(ann, 'welcome')
  await page.getByRole('button', { name: 'Join' }).click()
  await expect(page.getByRole('alert')).toHaveText('Please enter your name.')
  await isFit(ann, 'welcome without a name')

  let answer = 'none'
  await page.route(`**/v1/rooms/${room}/messages?*`, async (route) => {
    if (answer === 'none') await expect.poll(() => answer, { timeout: 60_000 }).not.toBe('none')
    await (answer === 'fault' ? route.fulfill({ status: 503, body: '{}' }) : route.fallback())
  })
  await ann.enter(room)
  const skeleton = page.getByTestId('skeleton')
  await expect(skeleton).toBeVisible()
  await isFit(ann, 'history that is loading')
  answer = 'fault'
  await expect(page.getByText('Earlier messages could not be loaded.')).toBeVisible()
  await expect(skeleton).toBeHidden()
  await isFit(ann, 'history that failed')
  answer = 'history'
  await page.getByRole('button', { name: 'Try again' }).click()
  await expect(page.getByText('No messages yet.')).toBeVisible()
  await isFit(ann, 'empty room')

  await page.getByLabel('Join or create a room').fill('Not a room')
  await page.getByRole('button', { name: 'Join', exact: true }).click()
  await expect(page.getByRole('alert')).toContainText('lowercase letters')
  await page.evaluate(() => location.assign('#/r/NOPE'))
  await expect(page.getByText('is not the name of a room.')).toBeVisible()
  await isFit(ann, 'no name of a room')
  await page.getByRole('button', { name: `Leave ${room}` }).click()
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pick a room')
  await isFit(ann, 'no room')
})

test('a room full of talk', async ({ person }) => {
  const [ann, wire] = await comeIn(person)
  const { page } = ann
  for (const room of OTHERS) {
    await ann.goTo(room)
    // what comes before the room is joined counts as read
    await expect(page.getByRole('log', { name: `Messages in ${room}` }).locator('[data-index]').last()).toBeVisible()
  }
  await ann.goTo(ROOM)
  for (let n = 1; n <= 3; n += 1) wire.say(news(n, 'rust', { body: `${n}`, at: Date.now() }))
  for (let n = 4; n <= 120; n += 1) wire.say(news(n, 'kitchen', { body: `${n}`, at: Date.now() }))
  await expect(page).toHaveTitle(/^\(99\+\) /)
  await isFit(ann, 'talk')

  await ann.say('I can bring `kubectl` and a cake.', `Look: https://example.org/${'a-long-way/'.repeat(12)}`, '```\nlet all = "said";\n```', '🎂')
  await expect(ann.log.locator('[data-state=sent]').last()).toBeVisible()
  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    if (frame.body === 'Too much of it') wire.say({ type: 'error', code: 'body_too_large', detail: 'The body is larger than 8192 bytes.', id: frame.id })
    return undefined
  }
  await ann.say('Too much of it', 'Is anyone there?')
  await expect(ann.row('Too much of it')).toHaveAttribute('data-state', 'failed')
  await expect(ann.row('Is anyone there?')).toHaveAttribute('data-state', 'pending')
  wire.say({ type: 'typing', room: ROOM, from: ['Priya', 'Jonas'].map((name) => ({ id: name, name })) })
  await expect(page.getByTestId('typing')).toHaveText('Priya and Jonas are typing')
  await isFit(ann, 'own messages')

  await page.getByRole('button', { name: `Leave ${ROOM}` }).click()
  await expect(page.getByText('2 unsent messages will be deleted.')).toBeVisible()
  await isFit(ann, 'leaving what was not sent')
  await page.keyboard.press('Escape')

  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.say({ type: 'error', code: 'rate_limited', detail: 'slow down', id: frame.id, retry_after_ms: 60_000 })
    return undefined
  }
  await ann.say('And another')
  await expect(page.getByText(/The rest will go out in \d+ s/)).toBeVisible()
  await ann.composer.fill('x'.repeat(8000))
  await expect(page.getByText('About 192 characters left')).toBeVisible()
  await isFit(ann, 'hold, and little room left')
  await ann.composer.fill('x'.repeat(8200))
  await expect(page.getByText('About 8 characters too long')).toBeVisible()
  await isFit(ann, 'too long')
  // the window had three widths by now, and what one writes is as high as it can be
  await expect(page.getByRole('button', { name: 'Jump to latest' })).toBeHidden()
  await ann.composer.fill('')

  await ann.log.evaluate((log) => log.scrollTo({ top: log.scrollHeight / 3 }))
  await expect(page.getByRole('button', { name: 'Jump to latest' })).toBeVisible()
  await isFit(ann, 'further up')
  wire.say(news(200, ROOM, { body: 'Anyone for a walk?', at: Date.now(), from: { id: 'id-of-Noa', name: 'Noa' } }))
  wire.say(news(201, ROOM, { body: `${'A wall of text. '.repeat(200)}`, at: Date.now(), from: { id: 'id-of-Noa', name: 'Noa' } }))
  await expect(page.getByRole('button', { name: '2 new' })).toBeVisible()
  await isFit(ann, 'further up with something new')
  await ann.goTo('rust')
  await ann.goTo(ROOM)
  await expect(ann.log.getByRole('separator', { name: 'New' })).toBeVisible()
  await isFit(ann, 'unread')
})

test('everything that lies over the page', async ({ person }) => {
  const [ann] = await comeIn(person)
  const { page } = ann
  await ann.say('How did I get here?')
  await ann.log.getByRole('button', { name: /^Sent/ }).click()
  await expect(page.getByRole('dialog', { name: 'Delivery details' }).getByRole('listitem')).toHaveCount(5)
  await isFit(ann, 'journey')
  await page.keyboard.press('Escape')

  await isFit(ann, 'details', SIZES, async () => {
    await ann.count.click()
    await expect(page.getByText('Message relay')).toBeVisible()
  })
  await isFit(ann, 'rooms', [PHONE], async () => {
    await page.getByRole('button', { name: 'Rooms' }).click()
    await expect(page.getByRole('dialog', { name: 'Rooms' })).toBeVisible()
  })
  await isFit(ann, 'people', [TABLET, PHONE], async () => {
    await page.getByRole('button', { name: 'People' }).click()
    await expect(page.getByRole('dialog', { name: 'People' })).toBeVisible()
  })

  await page.keyboard.press('Control+k')
  await expect(page.getByRole('combobox')).toBeFocused()
  await isFit(ann, 'palette')
  await page.keyboard.type('NOT a room')
  await expect(page.getByText('Use lowercase letters')).toBeVisible()
  await isFit(ann, 'palette without a match')
  await page.keyboard.press('Escape')

  await page.keyboard.press('Control+k')
  await expect(page.getByRole('combobox')).toBeFocused()
  await page.keyboard.type('copy')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('dialog').getByRole('status')).not.toBeEmpty()
  await isFit(ann, 'address')
  await page.keyboard.press('Escape')

  await ann.log.focus()
  await page.keyboard.press('?')
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible()
  await isFit(ann, 'keyboard map')
  await page.keyboard.press('Escape')

  await page.getByRole('button', { name: /Change your name/ }).click()
  await page.getByRole('dialog').getByRole('textbox').fill('')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByRole('alert')).toHaveText('Please enter your name.')
  await isFit(ann, 'name')
  await page.keyboard.press('Escape')

  await page.getByRole('button', { name: 'Emoji' }).click()
  await expect(page.getByRole('gridcell', { name: 'grinning face', exact: true })).toBeVisible()
  await isFit(ann, 'emoji')
  await page.keyboard.type('no such thing')
  await expect(page.getByText('None with that name.')).toBeVisible()
  await isFit(ann, 'emoji without a match')
})

test('everything that can go wrong', async ({ person }) => {
  const [ann, wire] = await comeIn(person)
  const { page } = ann
  const banner = (text: string | RegExp) => expect(page.getByRole('main').getByText(text)).toBeVisible()
  wire.say({ type: 'status', relay: 'degraded' })
  await banner('There is a problem on our side.')
  await isFit(ann, 'relay away')
  wire.say({ type: 'reset', seq: 1, reason: 'hole' })
  await banner('Some messages may be missing')
  await isFit(ann, 'relay away, and a gap')
  wire.say({ type: 'status', relay: 'live' })

  await ann.say('Before it all went down')
  await expect(ann.row('Before it all went down')).toHaveAttribute('data-state', 'sent')
  wire.say({ type: 'drain', reconnect_after_ms: 90_000 })
  await wire.close(1012)
  await banner(/Reconnecting in \d+ s/)
  await ann.say('And after')
  await isFit(ann, 'waiting')
  await page.context().setOffline(true)
  await banner('You’re offline')
  await isFit(ann, 'offline')
  wire.answers = ({ type, ...rest }) => (type === 'live' ? undefined : { type, ...rest })
  await page.context().setOffline(false)
  await banner('Catching up…')
  await isFit(ann, 'catching up')
  wire.answers = () => undefined
  await wire.close(1001)
  await banner('Reconnecting…')
  await isFit(ann, 'connecting')
  await wire.close(4501)
  await banner('too many connections open')
  await isFit(ann, 'stopped')
})

test('an outbox that is full', async ({ person, room }) => {
  const ann = await person('Ann', { reducedMotion: 'reduce' })
  await ann.page.addInitScript((name) => {
    for (let n = 0; n < 200; n += 1) {
      const entry = { id: `full-${n}`, room: name, body: `waits ${n}`, at: Date.now() }
      localStorage.setItem(`hubbub.outbox.gone.${n}`, JSON.stringify(entry))
    }
  }, room)
  const wire = await Wire.tap(ann.page)
  wire.filter = (frame) => (frame.type === 'publish' ? undefined : frame)
  await ann.enter(room)
  await expect(ann.row('waits 199')).toHaveAttribute('data-state', 'pending')
  await ann.say('one too many')
  const note = ann.page.getByText('Too many messages are waiting to be sent.')
  await expect(note).toBeVisible()
  await expect(ann.composer).toHaveValue('one too many')
  await isFit(ann, 'outbox full')
  wire.filter = (frame) => frame
  await wire.close(1001)
  await expect(note).toBeHidden()
})
