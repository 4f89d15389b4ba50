import { news, said, tellPast } from './past'
import { expect, test, Wire, type Person } from './person'

/** Whoever has the focus can be told from what has not. */
async function showsFocus({ page }: Person) {
  const outline = await page.locator(':focus').evaluate((element) => {
    const marked = element.matches('textarea') ? element.parentElement : element
    return marked ? getComputedStyle(marked).outlineStyle : ''
  })
  expect(outline).not.toBe('none')
}

/** Moves the focus on until it is on the control of this name. */
async function tabTo(person: Person, name: RegExp) {
  const { page } = person
  const focused = page.locator(':focus')
  await expect(async () => {
    await page.keyboard.press('Tab')
    await expect(focused).toHaveAccessibleName(name, { timeout: 30 })
  }).toPass({ intervals: [0], timeout: 20_000 })
  await showsFocus(person)
}

/** Goes to the control of this name and presses it. */
async function press(person: Person, name: RegExp, key = 'Enter') {
  await tabTo(person, name)
  await person.page.keyboard.press(key)
}

test('one can come in, talk, look and leave without a mouse', async ({ person, room }) => {
  test.slow()
  const ann = await person('Ann')
  const { page } = ann
  const { keyboard } = page
  await page.goto(`/#/r/${room}`)
  await expect(page.getByLabel('Your name')).toBeFocused()
  await keyboard.type('Ann')
  await keyboard.press('Enter')
  await expect(ann.composer).toBeFocused()
  await keyboard.type('hello')
  await keyboard.press('Enter')
  await expect(ann.row('hello')).toHaveAttribute('data-state', 'sent')
  await expect(ann.composer).toBeFocused()

  await tabTo(ann, /^Sent/)
  await keyboard.press('Enter')
  const journey = page.getByRole('dialog', { name: 'Delivery details' })
  await expect(journey).toBeVisible()
  await keyboard.press('Escape')
  await expect(journey).toBeHidden()
  await expect(page.locator(':focus')).toHaveAccessibleName(/^Sent/)

  await tabTo(ann, /online$/)
  await keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Connection details' })).toBeVisible()
  await keyboard.press('Escape')
  await expect(page.getByRole('heading', { name: 'Connection details' })).toBeHidden()
  await expect(ann.count).toBeFocused()

  await tabTo(ann, /Change your name/)
  await keyboard.press('Enter')
  await page.getByRole('dialog').getByRole('textbox').press('ControlOrMeta+a')
  await keyboard.type('Anna')
  await keyboard.press('Enter')
  await ann.isLive()
  await expect(page.getByRole('dialog')).toBeHidden()

  await tabTo(ann, /^Theme: System/)
  await keyboard.press('Enter')
  await expect(page.getByRole('button', { name: 'Theme: Light' })).toBeFocused()

  await tabTo(ann, new RegExp(`^Leave ${room}`))
  await keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pick a room')
})

test('the palette finds rooms and joins new ones', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  await ann.enter(room)
  await page.keyboard.press('Control+k')
  const field = page.getByRole('combobox', { name: 'Room or command' })
  await expect(field).toBeFocused()
  await page.keyboard.type(`${room}-2`)
  await expect(page.getByRole('option', { name: `Join or create #${room}-2` })).toHaveAttribute('aria-selected', 'true')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-2`)
  await expect(ann.composer).toBeFocused()

  await page.keyboard.press('Control+k')
  await page.keyboard.type(`#${room}`)
  const options = page.getByRole('option')
  await expect(options.first()).toHaveAttribute('aria-selected', 'true')
  await page.keyboard.press('ArrowUp')
  await expect(options.first()).toHaveAttribute('aria-selected', 'false')
  await page.keyboard.press('ArrowDown')
  await expect(options.first()).toHaveAttribute('aria-selected', 'true')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)

  await page.getByLabel('Join or create a room').fill(`#${room}-3`)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-3`)

  await page.keyboard.press('Control+k')
  await page.keyboard.type('NOT a room')
  await expect(page.getByText('lowercase letters')).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(field).toBeHidden()
  await expect(ann.composer).toBeFocused()
})

test('what is typed after Ctrl K goes into the palette, however slow the network is', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  await ann.enter(room)
  await page.route('**/assets/*', async (route) => {
    await new Promise((resolve) => setTimeout(resolve, 800))
    await route.continue()
  })
  await page.keyboard.press('Control+k')
  await page.keyboard.type(`${room}-design`)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-design`)
  await ann.goTo(room)
  await ann.sees([])

  await page.getByRole('button', { name: 'Emoji' }).click()
  await page.keyboard.type('party pop')
  await page.keyboard.press('Enter')
  const found = page.getByRole('gridcell', { name: 'party popper' })
  await expect(found).toBeVisible()
  await page.keyboard.type('per')
  await expect(page.getByRole('searchbox', { name: 'Find an emoji' })).toHaveValue('party popper')
  await expect(found).toBeVisible()
  await expect(ann.composer).toHaveValue('')
  await ann.sees([])
})

test('a command is what its name finds, and a room of that name comes last', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  await ann.enter(room)
  const options = page.getByRole('option')
  for (const [typed, command] of [
    ['copy', 'Copy link'],
    ['name', 'Change your name'],
    ['theme', 'Theme: System'],
    ['help', 'Keyboard shortcuts'],
  ] as const) {
    await page.keyboard.press('Control+k')
    await page.keyboard.type(typed)
    await expect(options.first()).toHaveAttribute('aria-selected', 'true')
    await expect(options.first()).toContainText(command)
    await expect(options.last()).toHaveText(`Join or create #${typed}`)
    await page.keyboard.press('Escape')
  }
  await page.keyboard.press('Control+k')
  await page.keyboard.type('copy')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('dialog', { name: 'Copy link' })).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)

  await page.keyboard.press('Control+k')
  await page.keyboard.type(room.slice(0, -1))
  await expect(options.first()).toContainText(`#${room}`)
  await expect(options.first()).toHaveAttribute('aria-selected', 'true')
  await expect(options.last()).toHaveText(`Join or create #${room.slice(0, -1)}`)
  await page.keyboard.press('Escape')

  // appearance, share: nobody who types this looks for a command
  await page.keyboard.press('Control+k')
  await page.keyboard.type('ar')
  await expect(options).toHaveText(['Join or create #ar'])
  await page.keyboard.press('Escape')
})

for (const isAllowed of [true, false]) {
  test(`the palette ${isAllowed ? 'copies the address of a room and says so' : 'says so when it may not copy the address'}`, async ({ person, room }) => {
    const ann = await person('Ann', { permissions: ['clipboard-read', 'clipboard-write'] })
    const { page } = ann
    if (!isAllowed) await page.addInitScript(() => (navigator.clipboard.writeText = () => Promise.reject(new DOMException('', 'NotAllowedError'))))
    await ann.enter(room)
    await page.keyboard.press('Control+k')
    await expect(page.getByRole('combobox')).toBeFocused()
    await page.keyboard.type('copy')
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Copy link' })
    await expect(dialog.getByRole('status')).toHaveText(isAllowed ? 'Link copied.' : /^Couldn’t copy/)
    await expect(dialog.getByRole('textbox')).toBeFocused()
    expect(await page.evaluate(() => getSelection()?.toString())).toBe(page.url())
    if (isAllowed) expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(page.url())
    await page.keyboard.press('Escape')
    await expect(ann.composer).toBeFocused()
  })
}

test('in the palette nothing moves but what one moves, whatever is said meanwhile', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 1280, height: 500 } })
  const { page } = ann
  const rooms = Array.from({ length: 20 }, (_, n) => `${room}-${n + 10}`)
  await page.addInitScript((names) => {
    for (const [n, name] of names.entries()) localStorage.setItem(`hubbub.room.${name}`, JSON.stringify({ joinedAt: n + 1, readSeq: 1 }))
  }, rooms)
  const wire = await Wire.tap(page)
  await ann.enter(room)
  await page.keyboard.press('Control+k')
  await expect(page.getByRole('combobox')).toBeFocused()
  for (let n = 0; n < 3; n += 1) await page.keyboard.press('ArrowDown')
  const picked = page.locator('[role=option][aria-selected=true]')
  await expect(picked).toHaveText(`#${rooms[3]}`)
  const list = page.getByRole('listbox')
  await list.evaluate((element) => element.scrollTo({ top: 300 }))
  wire.say(news(1, room, { body: 'here' }))
  wire.say(news(2, rooms.at(-1) ?? '', { body: 'elsewhere' }))
  await expect(page.getByRole('option').first()).toHaveText(`#${rooms.at(-1)}1 unread`)
  await expect(picked).toHaveText(`#${rooms[3]}`)
  expect(await list.evaluate((element) => element.scrollTop)).toBe(300)
})

test('? shows the keyboard map, and is a sign like any other where one writes', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.composer.press('?')
  await expect(ann.composer).toHaveValue('?')
  await ann.log.focus()
  await ann.page.keyboard.press('?')
  const help = ann.page.getByRole('dialog', { name: 'Keyboard shortcuts' })
  await expect(help).toBeVisible()
  await ann.page.keyboard.press('Escape')
  await expect(help).toBeHidden()
  await expect(ann.log).toBeFocused()
  await ann.page.keyboard.type('now what')
  await expect(ann.composer).toHaveValue('?now what')
})

test('single keys can be turned off, and stay so', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  await ann.enter(room)
  await ann.log.focus()
  await page.keyboard.press('?')
  const help = page.getByRole('dialog', { name: 'Keyboard shortcuts' })
  const single = help.getByRole('checkbox', { name: 'Single keys' })
  await expect(single).toBeChecked()
  await press(ann, /^Single keys$/, 'Space')
  await expect(single).not.toBeChecked()
  await page.reload()
  await ann.isLive()
  await ann.log.focus()
  await page.keyboard.press('?')
  await page.keyboard.press('x')
  await expect(ann.log).toBeFocused()
  await expect(help).toBeHidden()

  await page.getByRole('button', { name: 'Keyboard shortcuts' }).click()
  await expect(single).not.toBeChecked()
  await single.check()
  await page.keyboard.press('Escape')
  await ann.log.focus()
  await page.keyboard.press('x')
  await expect(ann.composer).toHaveValue('x')
})

test('arrows with Alt go from room to room, and with Shift to the next unread one', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const heading = ann.page.getByRole('heading', { level: 1 })
  await ann.enter(room)
  await ann.goTo(`${room}-2`)
  await ann.goTo(`${room}-3`)
  await ann.page.keyboard.press('Alt+ArrowUp')
  await expect(heading).toHaveText(`#${room}-2`)
  await ann.page.keyboard.press('Alt+ArrowDown')
  await expect(heading).toHaveText(`#${room}-3`)
  await ann.page.keyboard.press('Alt+ArrowDown')
  await expect(heading).toHaveText(`#${room}`)
  await bob.enter(`${room}-3`)
  await bob.say('over here')
  await expect(ann.page).toHaveTitle(/^\(1\) /)
  await ann.page.keyboard.press('Alt+Shift+ArrowDown')
  await expect(heading).toHaveText(`#${room}-3`)
})

test('one can scroll while one writes, and go back to the end', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 900, height: 420 } })
  await ann.enter(room)
  await ann.flood(room, Array.from({ length: 30 }, (_, n) => `line ${n + 1}`))
  await expect(ann.row('line 30')).toBeInViewport()
  await ann.composer.fill('half a')
  await ann.composer.press('PageUp')
  await expect(ann.row('line 30')).not.toBeInViewport()
  await expect(ann.composer).toBeFocused()
  await ann.composer.press('Escape')
  await expect(ann.row('line 30')).toBeInViewport()
  await expect(ann.composer).toHaveValue('half a')
})

test('emoji are found by name and put where one writes', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.composer.fill('well done ')
  await tabTo(ann, /^Emoji$/)
  await ann.page.keyboard.press('Enter')
  const search = ann.page.getByRole('searchbox', { name: 'Find an emoji' })
  await expect(search).toBeFocused()
  await ann.page.keyboard.type('party popper')
  await expect(ann.page.getByRole('gridcell', { name: 'party popper' })).toBeVisible()
  await ann.page.keyboard.press('ArrowDown')
  await ann.page.keyboard.press('Enter')
  await expect(ann.composer).toBeFocused()
  await expect(ann.composer).toHaveValue('well done 🎉')
  await tabTo(ann, /^Emoji$/)
  await ann.page.keyboard.press('Enter')
  await expect(search).toBeFocused()
  await ann.page.keyboard.press('Escape')
  await expect(search).toBeHidden()
  await expect(ann.page.getByRole('button', { name: 'Emoji' })).toBeFocused()

  await ann.page.keyboard.press('Enter')
  await expect(search).toBeFocused()
  await ann.page.keyboard.press('Control+k')
  await expect(ann.page.getByRole('combobox')).toBeFocused()
  await expect(search).toBeHidden()
  await ann.page.keyboard.press('Escape')
  await expect(ann.page.getByRole('combobox')).toBeHidden()
})

test('what goes away when it is pressed leaves the focus where one goes on', async ({ person, room }) => {
  test.slow()
  const ann = await person('Ann')
  const { page } = ann
  const wire = await Wire.tap(page)
  await tellPast(page, room, [said(0, room, { body: 'a wall of text '.repeat(200) })])
  await ann.enter(room)
  await press(ann, /^Show more$/)
  await expect(page.locator(':focus')).toHaveAccessibleName('Show less')
  await page.keyboard.press('Space')
  await expect(page.locator(':focus')).toHaveAccessibleName('Show more')

  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.say({ type: 'error', code: 'body_too_large', detail: 'too long', id: frame.id })
    return undefined
  }
  await ann.say('one', 'two')
  await expect(ann.log.locator('[data-state=failed]')).toHaveCount(2)
  await press(ann, /^Delete$/)
  await expect(ann.row('one')).toHaveCount(0)
  await expect(ann.composer).toBeFocused()
  wire.filter = (frame) => frame
  await press(ann, /^Retry$/, 'Space')
  await expect(ann.row('two')).toHaveAttribute('data-state', 'sent')
  await expect(ann.composer).toBeFocused()

  wire.say({ type: 'reset', seq: 1, reason: 'hole' })
  await expect(page.getByText('Some messages may be missing')).toBeVisible()
  await press(ann, /^Dismiss$/)
  await expect(page.getByText('Some messages may be missing')).toBeHidden()
  await expect(ann.composer).toBeFocused()

  wire.say({ type: 'drain', reconnect_after_ms: 120_000 })
  await wire.close(1012)
  await expect(page.getByText(/Reconnecting in/)).toBeVisible()
  await press(ann, /^Try now$/)
  await ann.isLive()
  await expect(ann.composer).toBeFocused()
})

test('a link in the part of a message that is not shown is shown when it has the focus', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, [said(0, room, { body: `${'line\n'.repeat(30)}https://example.org/` })])
  await ann.enter(room)
  await expect(ann.page.getByRole('button', { name: 'Show more' })).toBeVisible()
  await tabTo(ann, /^https:/)
  await expect(ann.page.getByRole('button', { name: 'Show less' })).toBeVisible()
  await expect(ann.log.getByRole('link')).toBeFocused()
})

test('older messages, the end, and other rooms are there for the keyboard', async ({ person, room }) => {
  test.slow()
  const ann = await person('Ann', { viewport: { width: 900, height: 420 } })
  const { page } = ann
  const wire = await Wire.tap(page)
  await tellPast(page, room, Array.from({ length: 120 }, (_, n) => said(n, room)))
  let isFailing = true
  await page.route(`**/v1/rooms/${room}/messages?*before=*`, (route) => (isFailing ? route.fulfill({ json: {} }) : route.fallback()))
  await ann.enter(room)
  await ann.log.focus()
  await expect(ann.row(said(119, room).body)).toBeInViewport()
  await page.keyboard.press('Home')
  await expect(page.getByText('Earlier messages could not be loaded.')).toBeInViewport()
  isFailing = false
  await press(ann, /^Try again$/)
  await expect(ann.log).toBeFocused()
  await expect(page.getByText('Earlier messages could not be loaded.')).toBeHidden()

  wire.say(news(1, room, { body: 'news' }))
  await press(ann, /^1 new$/)
  await expect(ann.row('news')).toBeInViewport()
  await expect(ann.composer).toBeFocused()

  await press(ann, /^People$/)
  const people = page.getByRole('dialog', { name: 'People' })
  await expect(people.getByRole('button', { name: 'Close' })).toBeFocused()
  await page.keyboard.press('Tab')
  await expect(people.getByRole('group', { name: `People in ${room}` })).toBeFocused()
  await press(ann, /^Close$/)
  await expect(people).toBeHidden()
  await expect(page.locator(':focus')).toHaveAccessibleName('People')

  await ann.goTo(`${room}-2`)
  await press(ann, new RegExp(`^Leave ${room}$`))
  await expect(page.getByRole('navigation').getByRole('link')).toHaveCount(1)
  await expect(page.locator(':focus')).toHaveAccessibleName(`${room}-2`)
  await press(ann, new RegExp(`^Leave ${room}-2`))
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Pick a room')
  await expect(page.getByRole('main').getByLabel('Join or create a room')).toBeFocused()
  await page.keyboard.type(room)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)
  await expect(ann.composer).toBeFocused()
})

test('on a phone with a keyboard the drawer keeps the focus, and gives it back', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 360, height: 740 } })
  const { page } = ann
  await ann.enter(room)
  await press(ann, /^Rooms$/)
  const drawer = page.getByRole('dialog', { name: 'Rooms' })
  await expect(drawer).toBeVisible()
  await press(ann, /^Change your name|^Ann Change your name/)
  await expect(page.getByRole('dialog', { name: 'Change your name' }).getByRole('textbox')).toBeFocused()
  await page.keyboard.press('Escape')
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(page.locator(':focus')).toHaveAccessibleName('Rooms')
  await page.keyboard.press('Enter')
  await press(ann, /^Close$/)
  await expect(drawer).toBeHidden()
  await expect(page.locator(':focus')).toHaveAccessibleName('Rooms')
})
