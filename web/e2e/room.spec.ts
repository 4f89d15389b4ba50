import { said, tellPast } from './past'
import { expect, test, Wire } from './person'

test('an empty room says what one can do', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await expect(ann.page.getByText('No messages yet.')).toBeVisible()
  await expect(ann.page.getByText('No one has posted yet.')).toBeVisible()
  await ann.say('hello?')
  await expect(ann.page.getByText('No messages yet.')).toBeHidden()
})

test.describe('with a history that fails', () => {
  test.use({ mayComplain: true })

  test('the page says so, and tries again when it is told to', async ({ person, room }) => {
    const ann = await person('Ann')
    await tellPast(ann.page, room, [said(0, room, { body: 'from the past' })])
    let answers = 503
    await ann.page.route(`**/v1/rooms/${room}/messages?*`, (route) =>
      answers === 503 ? route.fulfill({ status: answers, body: '{}' }) : route.fallback(),
    )
    await ann.enter(room)
    await expect(ann.page.getByText('Earlier messages could not be loaded.')).toBeVisible()
    answers = 200
    await ann.page.getByRole('button', { name: 'Try again' }).click()
    await ann.sees(['from the past'])
  })
})

test('typing that comes to nothing ends by itself', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  const from = ['Bob', 'Cid'].map((name) => ({ id: name, name }))
  wire.say({ type: 'typing', room, from })
  await expect(ann.page.getByTestId('typing')).toHaveText('Bob and Cid are typing')
  await expect(ann.page.getByTestId('typing')).toHaveText('')
})

test('while the page is not connected, it does not say how many are', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say({ type: 'drain', reconnect_after_ms: 120_000 })
  await wire.close(1012)
  await expect(ann.count).toHaveAccessibleName('not connected')
  await ann.count.click()
  await expect(ann.page.locator('dt', { hasText: 'Online' }).locator('+ dd')).toHaveText('–')
})

test('whoever leaves a room with messages that were not sent is asked first', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  const wire = await Wire.tap(page)
  await ann.enter(`${room}-2`)
  await ann.goTo(room)
  wire.filter = (frame) => (frame.type === 'publish' ? undefined : frame)
  await ann.say('one', 'two')
  const leave = page.getByRole('navigation').getByRole('button', { name: `Leave ${room}`, exact: true })
  const dialog = page.getByRole('dialog', { name: `Leave ${room}?` })
  await leave.click()
  await expect(dialog).toContainText('2 unsent messages will be deleted.')
  await dialog.getByRole('button', { name: 'Cancel' }).click()
  await expect(dialog).toBeHidden()
  await expect(leave).toBeFocused()
  await expect(ann.row('two')).toHaveAttribute('data-state', 'pending')

  await leave.click()
  await dialog.getByRole('button', { name: 'Leave' }).click()
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-2`)
  await expect(dialog).toBeHidden()
  expect(await page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith('hubbub.outbox.')))).toEqual([])
})

test('each room keeps what one has begun to write in it', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.composer.fill('for the first')
  await ann.goTo(`${room}-2`)
  await expect(ann.composer).toHaveValue('')
  await ann.composer.fill('for the second')
  await ann.page.reload()
  await expect(ann.composer).toHaveValue('for the second')
  await ann.goTo(room)
  await expect(ann.composer).toHaveValue('for the first')
})

for (const [what, address, problem] of [
  ['of one room too many', '', 'You can be in 32 rooms at a time.'],
  ['of no room', 'NOPE'.repeat(500), 'is not the name of a room'],
] as const) {
  test(`the address ${what} leads whoever has rooms to the first of them`, async ({ person, room }) => {
    const { page } = await person('Ann')
    await page.addInitScript((names) => {
      localStorage.setItem('hubbub.name', '"Ann"')
      for (const [n, name] of names.entries()) localStorage.setItem(`hubbub.room.${name}`, JSON.stringify({ joinedAt: n + 1 }))
    }, Array.from({ length: 32 }, (_, n) => `${room}-${n}`))
    await page.goto(`/#/r/${address || room}`)
    const banner = page.getByText(problem)
    await expect(banner).toBeVisible()
    await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-0`)
    expect(await page.getByRole('main').evaluate((main) => main.scrollWidth - main.clientWidth)).toBe(0)
    expect((await banner.boundingBox())?.height).toBeLessThan(100)
  })
}

test('a room can be found by its address alone', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.page.goto(`/#/r/${room}`)
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText(`Join #${room}`)
})

test.describe('with a program that does not come', () => {
  test.use({ mayComplain: true })

  test('the page does not stay a logo for ever: it says so after a while', async ({ person, room }) => {
    const { page } = await person('Ann')
    await page.route('**/assets/*.js', (route) => route.abort())
    await page.goto(`/#/r/${room}`)
    const note = page.getByText('could not be loaded')
    await expect(note).toBeHidden()
    await note.evaluate((element) => element.getAnimations().forEach((wait) => wait.finish()))
    await expect(note).toBeVisible()
  })
})

test('without JavaScript the page says that it needs it', async ({ person }) => {
  const { page } = await person('Ann', { javaScriptEnabled: false })
  await page.goto('/')
  await expect(page.locator('noscript p')).toBeVisible()
  await expect(page.getByText('could not be loaded')).toBeHidden()
})

test('the activity says that it knows a part only, and reading further up makes nobody recently active', async ({ person, room }) => {
  const ann = await person('Ann')
  const start = Date.now() - 20 * 60_000
  const early = { id: 'id-of-Early', name: 'Early' }
  const past = Array.from({ length: 200 }, (_, n) => said(n, room, { at: start + n * 5000, body: `line ${n}`, ...(n < 100 && { from: early }) }))
  await tellPast(ann.page, room, past)
  await ann.enter(room)
  const people = ann.page.getByRole('group', { name: `People in ${room}` })
  await expect(people.getByText('50+ messages')).toBeVisible()
  await ann.lines()
  await expect(people.getByText('200 messages', { exact: true })).toBeVisible()
  await expect(people.getByText('Ada')).toBeVisible()
  await expect(people.getByText('Early')).toHaveCount(0)
})
