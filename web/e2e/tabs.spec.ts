import { addresses, expect, test, Wire, type Person } from './person'

test('one’s own message is in both tabs, once, and what is read in one is read in the other', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const tab = await ann.newTab()
  await ann.say('from one')
  await tab.say('from the other')
  for (const one of [ann, tab, bob]) await one.sees(['from one', 'from the other'])
  for (const one of [ann, tab]) await expect(one.log.locator('[data-state=sent]')).toHaveCount(2)
  expect(await tab.seqs()).toEqual(await ann.seqs())

  for (const one of [ann, tab]) await one.goTo(`${room}-2`)
  await bob.say('who reads this?')
  for (const one of [ann, tab]) await expect(one.page).toHaveTitle(/^\(1\) /)
  await ann.goTo(room)
  await expect(ann.row('who reads this?')).toBeVisible()
  for (const one of [ann, tab]) await expect(one.page).toHaveTitle(/^#/)
})

test('a room that one tab leaves is left in the other, which goes on to the next', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  const other = `${room}-2`
  await ann.goTo(other)
  const tab = await ann.newTab()
  const leave = (one: Person) => one.page.getByRole('navigation').getByRole('button', { name: `Leave ${other}` }).click()
  await leave(tab)
  for (const one of [ann, tab]) {
    await expect(one.page).toHaveURL(new RegExp(`#/r/${room}$`))
    await expect(one.page.getByRole('heading', { level: 1 })).toHaveText(`#${room}`)
  }
  await ann.goTo(other)
  await expect(tab.page.getByRole('navigation').getByRole('link', { name: other })).toBeVisible()
})

test('what one tab has unsent the other leaves alone, until the tab is gone', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const tab = await ann.newTab()
  wire.isCut = true
  await wire.close(1001)
  await ann.say('unsent')
  await expect(ann.row('unsent')).toHaveAttribute('data-state', 'pending')
  await tab.page.reload()
  await tab.say('from the other')
  await expect(tab.row('from the other')).toHaveAttribute('data-state', 'sent')
  await bob.sees(['from the other'])
  await tab.sees(['from the other'])

  await ann.page.close()
  await expect(tab.row('unsent')).toHaveAttribute('data-state', 'sent')
  for (const one of [tab, bob]) await one.sees(['from the other', 'unsent'])
})
