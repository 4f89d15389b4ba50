import { said, tellPast } from './past'
import { addresses, expect, test } from './person'

test('one’s own message tells how it got here: sent, taken where, logged, confirmed, shown', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room, addresses.b)
  await ann.say('on its way')
  await expect(ann.row('on its way')).toHaveAttribute('data-state', 'sent')
  await ann.row('on its way').getByRole('button', { name: /^Sent/ }).click()
  const journey = ann.page.getByRole('dialog', { name: 'Delivery details' })
  const stops = journey.getByRole('listitem')
  await expect(journey.getByRole('heading')).toHaveText('Delivery details')
  await expect(stops).toHaveCount(5)
  await expect(stops.first()).toHaveText(/Sent from this browser.*start/)
  await expect(stops.filter({ hasText: 'Received by server b' })).toHaveText(/\+\d+ ms/)
  await expect(stops.filter({ hasText: 'Saved' })).toHaveText(/\+\d+ ms/)
  const times = await stops.allTextContents()
  const after = times.map((text) => Number(/\+(\d+) ms/.exec(text)?.[1] ?? 0))
  expect(after).toEqual(after.toSorted((one, other) => one - other))
  const [seq] = await ann.seqs()
  await expect(journey.locator('dd').first()).toHaveText(String(seq))
  await journey.getByRole('button', { name: 'Close' }).click()
  await expect(journey).toBeHidden()
})

test('of a message that was sent from elsewhere the page says that only the tab that sent it knows', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  await ann.say('before the reload')
  await expect(ann.row('before the reload')).toHaveAttribute('data-state', 'sent')
  await ann.page.reload()
  await ann.row('before the reload').getByRole('button', { name: /^Sent/ }).click()
  await expect(ann.page.getByText('Timing is available only in the tab that sent the message.')).toBeVisible()
})

test('only one’s own messages have a way to tell', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, [said(0, room, { body: 'by someone else' })])
  await ann.enter(room)
  await expect(ann.row('by someone else')).toBeVisible()
  await expect(ann.log.getByRole('button', { name: /^Sent/ })).toHaveCount(0)
})
