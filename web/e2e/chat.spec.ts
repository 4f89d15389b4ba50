import { addresses, expect, test, Wire } from './person'

test('two people on two instances read the same, once and in order', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const said: string[] = []
  for (let n = 1; n <= 5; n += 1) {
    await ann.say(`Ann ${n}`)
    await bob.say(`Bob ${n}`)
    said.push(`Ann ${n}`, `Bob ${n}`)
  }
  await ann.say('the end')
  await expect(bob.row('the end')).toHaveCount(1)
  await expect(ann.log.locator('[data-state=sent]')).toHaveCount(said.length + 1)
  await expect(bob.log.locator('[data-state=sent]')).toHaveCount(said.length + 1)
  const seqs = await ann.seqs()
  expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
  expect(await bob.seqs()).toEqual(seqs)
  const texts = (await ann.lines()).map(({ text }) => text)
  expect(texts).toHaveLength(said.length + 1)
  for (const { name } of [ann, bob]) expect(texts.filter((text) => text.startsWith(name))).toEqual(said.filter((text) => text.startsWith(name)))
  await bob.sees(texts)
})

test('everyone sees how many are connected over how many instances', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  for (const { count } of [ann, bob]) await expect(count).toHaveAccessibleName('2 online')
  await bob.page.context().close()
  await expect(ann.count).toHaveAccessibleName('1 online')
})

test('one’s own message is there at once and sent when the server has it', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  const held: unknown[] = []
  wire.filter = (frame) => (frame.type === 'publish' ? void held.push(frame) : frame)
  await ann.enter(room)
  await ann.say('hello')
  await expect(ann.row('hello')).toHaveAttribute('data-state', 'pending')
  await expect(ann.composer).toBeFocused()
  await expect(ann.composer).toHaveValue('')
  wire.filter = (frame) => frame
  await wire.close(1001)
  await expect(ann.row('hello')).toHaveAttribute('data-state', 'sent')
  await ann.sees(['hello'])
  expect(held).toHaveLength(1)
})

test('a reload keeps what was written and what was not sent', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  wire.filter = (frame) => (frame.type === 'publish' ? undefined : frame)
  await bob.enter(room)
  await ann.enter(room)
  await ann.say('unsent')
  await ann.composer.fill('half a thou')
  wire.filter = (frame) => frame
  await ann.page.reload()
  await expect(ann.row('unsent')).toHaveAttribute('data-state', 'sent')
  await expect(ann.composer).toHaveValue('half a thou')
  await bob.sees(['unsent'])
  await ann.sees(['unsent'])
})

test('a reload brings back the name, the room and the history', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.say('one', 'two')
  await expect(ann.log.locator('[data-state=sent]')).toHaveCount(2)
  await ann.page.reload()
  await ann.sees(['one', 'two'])
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)
})

test('whoever comes later reads what was said, back to the first word', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room, addresses.a)
  const said = Array.from({ length: 60 }, (_, n) => `line ${n + 1}`)
  await ann.flood(room, said)
  await bob.enter(room, addresses.b)
  await expect(bob.row('line 60')).toBeInViewport()
  await bob.sees(said)
})

test('markup is shown as the text it is, and only web addresses become links', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  const markup = '<img src=x onerror="document.title=\'broken\'"> javascript:alert(1)'
  await ann.say(markup, 'see https://example.org/a.')
  await expect(ann.row(markup)).toHaveCount(1)
  await expect(ann.log.locator('img')).toHaveCount(0)
  const link = ann.log.getByRole('link')
  await expect(link).toHaveCount(1)
  await expect(link).toHaveAttribute('href', 'https://example.org/a')
  await expect(link).toHaveAttribute('rel', 'noopener noreferrer')
  await expect(ann.page).not.toHaveTitle(/broken/)
})

test('Enter sends, Shift+Enter breaks the line, and composing a character does neither', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.composer.pressSequentially('one')
  await ann.composer.press('Shift+Enter')
  const devtools = await ann.page.context().newCDPSession(ann.page)
  await devtools.send('Input.imeSetComposition', { text: 'に', selectionStart: 1, selectionEnd: 1 })
  await expect(ann.composer).toHaveValue('one\nに')
  await ann.composer.dispatchEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })
  await expect(ann.composer).toHaveValue('one\nに')
  await devtools.send('Input.insertText', { text: '二' })
  await ann.composer.press('Enter')
  await expect(ann.log.getByTestId('body')).toHaveText('one\n二', { useInnerText: true })
  await expect(ann.composer).toHaveValue('')
})

test('rooms one is not looking at count what is new, in the sidebar and in the title', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await bob.enter(room)
  await ann.enter(room)
  await ann.page.getByLabel('Join or create a room').fill(`${room}-2`)
  await ann.page.getByRole('button', { name: 'Join' }).click()
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}-2`)
  await bob.say('one', 'two')
  await expect(ann.page).toHaveTitle(/^\(2\) /)
  await expect(ann.page.locator('link[rel=icon]')).toHaveAttribute('href', 'favicon-unread.svg')
  const link = ann.page.getByRole('navigation').getByRole('link', { name: `${room} 2 unread`, exact: false })
  await link.click()
  await expect(ann.log.getByText('New', { exact: true })).toBeVisible()
  await ann.sees(['one', 'two'])
  await expect(ann.page).toHaveTitle(/^#/)
})

test('a room can be left', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.page.getByRole('button', { name: `Leave ${room}` }).click()
  await expect(ann.page.getByRole('heading', { level: 1 })).toHaveText('Pick a room')
})

test('a name that is no room is refused with a reason', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.page.getByLabel('Join or create a room').fill('Not a room')
  await ann.page.getByRole('button', { name: 'Join' }).click()
  await expect(ann.page.getByRole('alert')).toContainText('lowercase letters')
  await ann.page.evaluate(() => {
    location.hash = '#/r/NOPE'
  })
  await expect(ann.page.getByRole('status').getByText('is not the name of a room')).toBeVisible()
  await expect(ann.page).toHaveURL(new RegExp(`#/r/${room}$`))
})

test('a change of name shows with the next message', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await bob.enter(room)
  await ann.enter(room)
  await ann.page.getByRole('button', { name: /Change your name/ }).click()
  await ann.page.getByLabel('Your name').last().fill('Anna Karenina')
  await ann.page.getByRole('button', { name: 'Save' }).click()
  await ann.isLive()
  await ann.say('it is me')
  await expect(bob.log.getByText('Anna Karenina')).toBeVisible()
})

test('typing shows, and goes when the message comes', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await bob.enter(room, addresses.b)
  await ann.enter(room, addresses.a)
  await ann.composer.pressSequentially('hm')
  await expect(bob.page.getByTestId('typing')).toHaveText('Ann is typing')
  await ann.composer.press('Enter')
  await expect(bob.row('hm')).toBeVisible()
  await expect(bob.page.getByTestId('typing')).toHaveText('')
})

test('who reads further up stays there and is told of what is new', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob', { viewport: { width: 800, height: 420 } })]
  await ann.enter(room)
  await bob.enter(room)
  // what comes before the room's past is loaded is unread, and the page begins there
  await expect(bob.page.getByText('No messages yet.')).toBeVisible()
  await ann.flood(room, Array.from({ length: 20 }, (_, n) => `line ${n + 1}`))
  await expect(bob.row('line 20')).toBeInViewport()
  await bob.log.evaluate((log) => log.scrollTo({ top: 100 }))
  await expect(bob.page.getByRole('button', { name: 'Jump to latest' })).toBeVisible()
  await ann.say('one more', 'and another')
  const pill = bob.page.getByRole('button', { name: '2 new' })
  await expect(pill).toBeVisible()
  expect(await bob.log.evaluate((log) => log.scrollTop)).toBe(100)
  await pill.click()
  await expect(bob.row('and another')).toBeInViewport()
  await expect(pill).toBeHidden()
})
