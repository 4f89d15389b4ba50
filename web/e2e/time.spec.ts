import { news, said, tellPast } from './past'
import { addresses, expect, test, Wire } from './person'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const ADA = { id: 'ada', name: 'Ada' }

test('messages of one person within five minutes are one group', async ({ person, room }) => {
  const ann = await person('Ann')
  // at noon no group is cut by the end of a day
  const now = Date.parse('2026-06-10T12:00:00Z')
  await ann.page.clock.setFixedTime(now)
  const at = [20, 19, 18, 10].map((minutes) => now - minutes * MINUTE)
  await tellPast(ann.page, room, at.map((time, n) => said(n, room, { at: time, from: ADA, body: `m${n}` })))
  await ann.enter(room)
  await ann.sees(['m0', 'm1', 'm2', 'm3'])
  await expect(ann.log.getByText('Ada', { exact: true })).toHaveCount(2)
})

test.describe('in another part of the world', () => {
  test('days and times are those of the place', async ({ person, room }) => {
    const ann = await person('Ann', { timezoneId: 'Pacific/Auckland', locale: 'en-GB' })
    await ann.page.clock.setFixedTime(new Date('2026-06-10T09:00:00Z'))
    const past = ['2026-05-30T23:30:00Z', '2026-06-09T10:00:00Z', '2026-06-09T13:00:00Z'].map((at, n) =>
      said(n, room, { at: Date.parse(at), body: `m${n}` }),
    )
    await tellPast(ann.page, room, past)
    await ann.page.goto(`/#/r/${room}`)
    await ann.page.getByLabel('Your name').fill('Ann')
    await ann.page.getByRole('button', { name: 'Join' }).click()
    await expect(ann.log.getByRole('separator')).toHaveText(['Sunday 31 May', 'Yesterday', 'Today'])
    const time = ann.log.locator('time').last()
    await expect(time).toHaveText('1:00')
    await expect(time).toHaveAttribute('datetime', '2026-06-09T13:00:00.000Z')
    await expect(time).toHaveAttribute('title', /Wednesday,? 10 June 2026 at 01:00:00/)
  })
})

test('who reads further up is told of the day', async ({ person, room }) => {
  const ann = await person('Ann')
  const start = Date.now() - DAY
  await tellPast(ann.page, room, Array.from({ length: 50 }, (_, n) => said(n, room, { at: start + n * 1000 })))
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say(news(1, room, { at: Date.now(), body: 'today' }))
  await expect(ann.row('today')).toBeInViewport()
  await expect(ann.page.getByTestId('day')).toHaveCount(0)
  await ann.log.evaluate((log) => log.scrollTo({ top: 400 }))
  await expect(ann.page.getByTestId('day')).toHaveText('Yesterday')
})

test('the people of a room are there with when they spoke last', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await tellPast(ann.page, room, [said(0, room, { at: Date.now() - 3 * DAY, from: ADA })])
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const people = ann.page.getByRole('complementary', { name: 'People' })
  await expect(people.getByRole('listitem')).toHaveText([/Ada.*3 days ago/])
  await bob.say('hello')
  await expect(people.getByRole('listitem')).toHaveText([/Bob.*just now/, /Ada/])
  await ann.say('hello Bob')
  await expect(people.getByRole('listitem').first()).toHaveText(/Ann.*you · just now/)
  await expect(people.getByText('2 messages')).toBeVisible()
})
