import { expect, test } from './person'

/** The same server in two directories of one origin, behind an nginx that strips them. */
const { HUBBUB_PATH } = process.env

test('the page works in any directory of an origin, and two of them do not meddle with each other', async ({ person }) => {
  test.skip(HUBBUB_PATH === undefined, 'there is no nginx')
  const room = `path-${Date.now()}`
  const [chat, talk] = [`${HUBBUB_PATH}/chat/`, `${HUBBUB_PATH}/talk/`]
  const [ann, bob] = [await person('Ann', { colorScheme: 'light' }), await person('Bob')]
  const { page } = ann
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  page.on('websocket', (socket) => asked.push(socket.url().replace(/^ws/, 'http')))
  // nginx leads whoever leaves out the slash to the directory
  await page.goto(`${HUBBUB_PATH}/chat#/r/${room}`)
  await expect(page).toHaveURL(`${chat}#/r/${room}`)
  await ann.enter(room, chat.slice(0, -1))
  await bob.enter(room)
  await ann.say('from below')
  await bob.say('from the root')
  for (const one of [ann, bob]) await one.sees(['from below', 'from the root'])
  await page.getByRole('button', { name: 'Emoji' }).click()
  await expect(page.getByRole('gridcell', { name: 'grinning face', exact: true })).toBeVisible()
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Theme: System' }).click()
  await page.getByRole('button', { name: 'Theme: Light' }).click()
  await page.reload()
  await ann.sees(['from below', 'from the root'])
  await ann.isLive()
  await expect(page.locator('html')).toHaveClass(/dark/)
  expect(asked.length).toBeGreaterThan(8)
  expect(asked.filter((url) => !url.startsWith(chat) && url !== `${HUBBUB_PATH}/chat`)).toEqual([])

  await page.goto(`${talk}#/r/${room}`)
  await expect(page.getByLabel('Your name')).toBeVisible()
  await expect(page.locator('html')).not.toHaveClass(/dark/)
  await page.goto(`${chat}#/r/${room}`)
  await ann.sees(['from below', 'from the root'])
})
