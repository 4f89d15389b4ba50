import { expect, test, Wire } from './person'

test('the page follows a server that goes away and comes back', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await bob.enter(room)
  await ann.say('before')
  await expect(bob.row('before')).toBeVisible()

  wire.isCut = true
  await wire.close(1001)
  await bob.say('one', 'two', 'three')
  await ann.say('from the other side')
  await expect(ann.page.getByText(/Trying again in \d+ s/)).toBeVisible()
  await expect(ann.row('from the other side')).toHaveAttribute('data-state', 'pending')

  wire.isCut = false
  await expect(async () => {
    const retry = ann.page.getByRole('button', { name: 'Retry now' })
    if (await retry.isVisible()) await retry.click({ timeout: 500 })
    await expect(ann.row('from the other side')).toHaveAttribute('data-state', 'sent', { timeout: 1000 })
  }).toPass()
  for (const { sees } of [ann, bob].map((one) => ({ sees: one.sees.bind(one) }))) {
    await sees(['before', 'one', 'two', 'three', 'from the other side'])
  }
  await expect(ann.page.getByText('Connection lost')).toBeHidden()
})

test('a blip is not worth a word', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  let wasSeen = false
  await ann.page.exposeFunction('seen', () => {
    wasSeen = true
  })
  await ann.page.evaluate(() => {
    new MutationObserver(() => {
      if (document.body.innerText.includes('Connect')) (window as unknown as { seen: () => void }).seen()
    }).observe(document.body, { childList: true, subtree: true })
  })
  await wire.close(1001)
  await expect.poll(() => wire.attempts).toBe(2)
  await ann.isLive()
  expect(wasSeen).toBe(false)
})

test('a server that does not want the page back is believed', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await wire.close(4501)
  await expect(ann.page.getByText('too many connections')).toBeVisible()
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')))
  expect(wire.attempts).toBe(1)
  await ann.page.getByRole('button', { name: 'Reload' }).click()
  await ann.isLive()
})

test('a hello that the server does not take is not said again until the person changes it', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.filter = (frame) => {
    if (frame.type !== 'hello' || frame.name !== 'Anna') return frame
    wire.say({ type: 'error', code: 'invalid_name', detail: 'this is not a name' })
    return undefined
  }
  const rename = async (name: string) => {
    await ann.page.getByTitle('Change your name').click()
    const field = ann.page.getByRole('textbox', { name: 'Your name' })
    await field.fill(name)
    await field.press('Enter')
  }
  await rename('Anna')
  await expect(ann.page.getByText('The server does not let you in: this is not a name')).toBeVisible()
  const { attempts } = wire
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')))
  expect(wire.attempts).toBe(attempts)
  await rename('Anne')
  await ann.isLive()
  await expect(ann.page.getByText('The server does not let you in')).toBeHidden()
})

test('too much at once waits its turn and is sent then', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.filter = (later) => later
    wire.say({ type: 'error', code: 'rate_limited', detail: 'slow down', id: frame.id, retry_after_ms: 2000 })
    return undefined
  }
  await ann.say('eager')
  await expect(ann.page.getByText(/What waits is sent in \d s/)).toBeVisible()
  await expect(ann.row('eager')).toHaveAttribute('data-state', 'sent')
  await expect(ann.page.getByText(/What waits is sent in/)).toBeHidden()
})

test('a refused message says why and can be sent again or deleted', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.say({ type: 'error', code: 'body_too_large', detail: 'this is too long', id: frame.id })
    return undefined
  }
  await ann.say('one', 'two')
  await expect(ann.log.locator('[data-state=failed]')).toHaveCount(2)
  await ann.row('two').getByRole('button', { name: 'Delete' }).click()
  wire.filter = (frame) => frame
  await ann.row('one').getByRole('button', { name: 'Retry' }).click()
  await expect(ann.row('one')).toHaveAttribute('data-state', 'sent')
  await ann.sees(['one'])
})

test('the page says when the relay is away and when it is back', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say({ type: 'status', relay: 'degraded' })
  const notice = ann.page.getByText('Messages will be delivered when the relay is back')
  await expect(notice).toBeVisible()
  wire.say({ type: 'status', relay: 'live' })
  await expect(notice).toBeHidden()
})

test('what cannot be replayed is loaded, and the page says so', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await ann.say('one', 'two')
  await expect(ann.log.locator('[data-state=sent]')).toHaveCount(2)
  wire.say({ type: 'reset', seq: 1, reason: 'hole' })
  await expect(ann.page.getByText('Some may be missing')).toBeVisible()
  await ann.sees(['one', 'two'])
  await ann.page.getByRole('button', { name: 'Dismiss' }).click()
  await expect(ann.page.getByText('Some may be missing')).toBeHidden()
})

test('without a network the page waits, and goes on with it', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await ann.page.context().setOffline(true)
  wire.isCut = true
  await wire.close(1001)
  await expect(ann.page.getByText('You are offline')).toBeVisible()
  await ann.say('later')
  const attempts = wire.attempts
  wire.isCut = false
  await ann.page.context().setOffline(false)
  await expect(ann.row('later')).toHaveAttribute('data-state', 'sent')
  expect(wire.attempts).toBe(attempts + 1)
})
