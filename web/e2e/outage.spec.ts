import { addresses, expect, test, Wire, type Person } from './person'

const BANNER = /Reconnecting|Connecting|Catching up/

/** Stops the clock of a page: its time passes only when it is told to. Waits between attempts are the longest there can be. */
async function stopClock({ page }: Person) {
  await page.clock.pauseAt((await page.evaluate(() => Date.now())) + 1000)
}

/** Lets some time pass until something is so. */
async function until({ page }: Person, isSo: () => Promise<unknown>) {
  await expect(async () => {
    await page.clock.runFor(100)
    await isSo()
  }).toPass({ intervals: [10] })
}

/** Someone whose page has a clock that can be stopped, and waits as long as it may between attempts. */
async function withClock(ann: Person) {
  await ann.page.addInitScript(() => {
    Math.random = () => 0.9999
  })
  await ann.page.clock.install()
  return Wire.tap(ann.page)
}

test('a blip is not worth a word', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await withClock(ann)
  await ann.enter(room)
  await ann.page.evaluate((texts) => {
    const seen: string[] = []
    Object.assign(window, { seen })
    new MutationObserver(() => seen.push(...(document.body.innerText.match(texts) ?? []))).observe(document.body, {
      childList: true,
      characterData: true,
      subtree: true,
    })
  }, BANNER)
  await stopClock(ann)
  await wire.close(1001)
  await until(ann, () => expect(ann.count.locator('[data-live=false]')).toBeAttached({ timeout: 50 }))
  let isLive = false
  wire.answers = (frame) => {
    isLive ||= frame.type === 'live'
    return frame
  }
  await ann.page.clock.runFor(400)
  await expect.poll(() => isLive).toBe(true)
  await until(ann, () => expect(ann.count.locator('[data-live=true]')).toBeAttached())
  await ann.page.clock.runFor(5000)
  expect(await ann.page.evaluate(() => (window as unknown as { seen: string[] }).seen)).toEqual([])
})

test('an outage is told after a second, with a countdown to each attempt and a way to try at once', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await withClock(ann)
  const { clock } = ann.page
  const banner = ann.page.getByText(BANNER)
  await ann.enter(room)
  await bob.enter(room)
  await ann.say('before')
  await expect(bob.row('before')).toBeVisible()
  await stopClock(ann)
  wire.isCut = true
  await wire.close(1001)
  await clock.runFor(400)
  await expect(banner).toBeHidden()
  let attempts = 1
  for (const seconds of [2, 4, 8]) {
    await until(ann, () => expect(banner).toHaveText(`Reconnecting in ${seconds} s…`, { timeout: 50 }))
    attempts = wire.attempts
    await clock.runFor((seconds - 1) * 1000)
    await expect(banner).toHaveText('Reconnecting in 1 s…')
    expect(wire.attempts).toBe(attempts)
    await clock.runFor(1000)
    await expect.poll(() => wire.attempts).toBe(attempts + 1)
  }
  await bob.say('one', 'two', 'three')
  await expect(bob.log.locator('[data-state=sent]')).toHaveCount(4)
  await ann.say('from the other side')
  await until(ann, () => expect(ann.row('from the other side')).toHaveAttribute('data-state', 'pending', { timeout: 50 }))
  await until(ann, () => expect(banner).toHaveText(/in 1\d s…$/, { timeout: 50 }))

  wire.isCut = false
  attempts = wire.attempts
  await ann.page.getByRole('button', { name: 'Try now' }).click()
  await expect.poll(() => wire.attempts).toBe(attempts + 1)
  await until(ann, () => expect(ann.row('from the other side')).toHaveAttribute('data-state', 'sent', { timeout: 50 }))
  await expect(banner).toBeHidden()
  await clock.resume()
  for (const one of [ann, bob]) await one.sees(['before', 'one', 'two', 'three', 'from the other side'])
})

/** Notes what a screen reader says about the page: the text of its regions for that, whenever it is another. */
function listen() {
  const heard: string[] = []
  const last = new Map<Element, string>()
  Object.assign(window, { heard })
  new MutationObserver(() => {
    for (const region of document.querySelectorAll('[role=status]')) {
      const copy = region.cloneNode(true) as Element
      for (const hidden of copy.querySelectorAll('[aria-hidden=true]')) hidden.remove()
      const parts = [...copy.querySelectorAll('p, button, span')].map((part) => part.textContent)
      const text = parts.join(' ').replaceAll(/\s+/g, ' ')
      if (text !== '' && text !== last.get(region)) heard.push(text)
      last.set(region, text)
    }
  }).observe(document.body, { childList: true, characterData: true, subtree: true })
}

test('a screen reader says once that the page reconnects, and not at each attempt', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await withClock(ann)
  await ann.enter(room)
  await ann.page.evaluate(listen)
  await stopClock(ann)
  // each attempt lasts as long as it may
  wire.answers = () => undefined
  await wire.close(1001)
  while (wire.attempts < 3) await ann.page.clock.runFor(500)
  await until(ann, () => expect(ann.page.getByText('Reconnecting')).toHaveText(/in \d+ s…$/, { timeout: 50 }))
  expect(await ann.page.evaluate(() => (window as unknown as { heard: string[] }).heard)).toEqual(['Reconnecting Try now'])
})

test('a draining server is asked again when it said, and not before', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await withClock(ann)
  const { clock } = ann.page
  await ann.enter(room)
  await stopClock(ann)
  wire.say({ type: 'drain', reconnect_after_ms: 30_000 })
  await wire.close(1012)
  await clock.runFor(1500)
  await expect(ann.page.getByText('Reconnecting')).toHaveText(/in (28|29) s…$/)
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')))
  await clock.runFor(28_000)
  expect(wire.attempts).toBe(1)
  await clock.runFor(1000)
  await expect.poll(() => wire.attempts).toBe(2)
  await until(ann, () => expect(ann.count.locator('[data-live=true]')).toBeAttached({ timeout: 50 }))
})

test('a server that does not want the page back is believed', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await withClock(ann)
  await ann.enter(room)
  await stopClock(ann)
  await wire.close(4501)
  await until(ann, () => expect(ann.page.getByText('too many connections open')).toBeVisible({ timeout: 50 }))
  await ann.page.clock.runFor(30_000)
  await ann.page.evaluate(() => {
    for (const type of ['online', 'pageshow']) window.dispatchEvent(new Event(type))
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await ann.page.clock.runFor(30_000)
  expect(wire.attempts).toBe(1)
  await ann.page.clock.resume()
  // once another tab is closed
  await ann.page.getByRole('button', { name: 'Try now' }).click()
  await ann.isLive()
  expect(wire.attempts).toBe(2)
})

test('whoever was away while fifty messages came has them all, once and in order, without asking for history', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(bob.page)
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  let histories = 0
  bob.page.on('request', (request) => {
    if (request.url().includes('/v1/rooms/')) histories += 1
  })
  wire.isCut = true
  await wire.close(1001)
  const said = Array.from({ length: 50 }, (_, n) => `line ${n + 1}`)
  await ann.flood(room, said)
  await expect(ann.row('line 50')).toBeVisible()
  await expect(bob.log.locator('[data-state]')).toHaveCount(0)
  wire.isCut = false
  await expect(bob.row('line 50')).toBeVisible({ timeout: 30_000 })
  await bob.sees(said)
  const seqs = await bob.seqs()
  expect(seqs).toHaveLength(50)
  expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
  expect(seqs).toEqual(await ann.seqs())
  expect(histories).toBe(0)
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
  await expect(ann.page.getByText('You can’t connect: This name can’t be used.')).toBeVisible()
  const { attempts } = wire
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')))
  expect(wire.attempts).toBe(attempts)
  await rename('Anne')
  await ann.isLive()
  await expect(ann.page.getByText('You can’t connect')).toBeHidden()
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
  await expect(ann.page.getByText(/The rest will go out in \d s/)).toBeVisible()
  await expect(ann.row('eager')).toHaveAttribute('data-state', 'sent')
  await expect(ann.page.getByText(/The rest will go out in/)).toBeHidden()
})

test('a refused message says why and can be sent again or deleted', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  wire.filter = (frame) => {
    if (frame.type !== 'publish') return frame
    wire.say({ type: 'error', code: 'body_too_large', detail: 'body is larger than 8192 bytes', id: frame.id })
    return undefined
  }
  await ann.say('one', 'two')
  await expect(ann.log.locator('[data-state=failed]')).toHaveCount(2)
  await expect(ann.row('one')).toContainText('This message is too long.')
  await ann.page.reload()
  await expect(ann.log.locator('[data-state=failed]')).toHaveCount(2)
  await ann.row('two').getByRole('button', { name: 'Delete' }).click()
  await expect(ann.row('two')).toHaveCount(0)
  wire.filter = (frame) => frame
  await ann.row('one').getByRole('button', { name: 'Retry' }).click()
  await expect(ann.row('one')).toHaveAttribute('data-state', 'sent')
  await ann.say('three')
  await expect(bob.row('three')).toBeVisible()
  for (const one of [ann, bob]) await one.sees(['one', 'three'])
})

test('the page says when the relay is away and when it is back', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say({ type: 'status', relay: 'degraded' })
  const notice = ann.page.getByText('There is a problem on our side.')
  await expect(notice).toBeVisible()
  wire.say({ type: 'status', relay: 'live' })
  await expect(notice).toBeHidden()
})

test('what cannot be replayed is loaded over HTTP, and the page says so', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await bob.enter(room)
  await ann.say('one')
  await expect(bob.row('one')).toBeVisible()
  wire.answers = (frame) => (frame.type === 'message' ? undefined : frame)
  await bob.say('two', 'three')
  await expect(bob.log.locator('[data-state=sent]')).toHaveCount(3)
  await expect(ann.log.locator('[data-state]')).toHaveCount(1)
  const asked = ann.page.waitForRequest((request) => request.url().includes(`/v1/rooms/${room}/messages`))
  const notice = ann.page.getByText('You were away too long to catch up completely.')
  await expect(notice).toBeHidden()
  wire.say({ type: 'reset', seq: 1, reason: 'hole' })
  await asked
  await expect(notice).toBeVisible()
  await ann.sees(['one', 'two', 'three'])
  await ann.page.getByRole('button', { name: 'Dismiss' }).click()
  await expect(notice).toBeHidden()
})

test('a network that goes is noticed at once, and what one writes meanwhile is seen to wait', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await bob.enter(room)
  wire.pull()
  const goneAt = performance.now()
  await ann.page.context().setOffline(true)
  await ann.say('into the void')
  const sending = ann.row('into the void').getByText('Sending…')
  await expect(sending).toBeVisible()
  await expect.poll(async () => (await sending.boundingBox())?.width ?? 0).toBeGreaterThan(20)
  await expect(ann.page.getByText('You’re offline. Messages will be sent when you reconnect.')).toBeVisible({ timeout: 8000 })
  expect(performance.now() - goneAt).toBeLessThan(10_000)
  await expect(ann.count.locator('[data-live=false]')).toBeAttached()
  await ann.page.context().setOffline(false)
  await expect(ann.row('into the void')).toHaveAttribute('data-state', 'sent')
  await expect(sending).toHaveCount(0)
  await bob.sees(['into the void'])
})

test('a message that is sent at once is not said to be on its way', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.filter = (frame) => (frame.type === 'publish' ? undefined : frame)
  await ann.say('hi')
  const sending = ann.row('hi').getByText('Sending…')
  expect((await sending.boundingBox())?.width).toBeLessThan(2)
  await expect.poll(async () => (await sending.boundingBox())?.width ?? 0).toBeGreaterThan(20)
})

test('without a network the page waits, and goes on with it', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await ann.page.context().setOffline(true)
  wire.isCut = true
  await wire.close(1001)
  await expect(ann.page.getByText('You’re offline')).toBeVisible()
  await expect(ann.page.getByRole('button', { name: 'Try now' })).toBeVisible()
  await ann.say('later')
  const attempts = wire.attempts
  wire.isCut = false
  await ann.page.context().setOffline(false)
  await expect(ann.row('later')).toHaveAttribute('data-state', 'sent')
  expect(wire.attempts).toBe(attempts + 1)
})

test('a clock that is set, ahead or back, neither hides the outage nor changes the countdown', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  await page.addInitScript(() => {
    const { now } = Date
    let offset = 0
    Date.now = () => now() + offset
    Object.assign(window, { set: (hours: number) => (offset += hours * 3_600_000) })
  })
  const set = (hours: number) => page.evaluate((by) => (window as unknown as { set: (hours: number) => void }).set(by), hours)
  const wire = await Wire.tap(page)
  await ann.enter(room)
  await set(1)
  wire.say({ type: 'drain', reconnect_after_ms: 60_000 })
  await wire.close(1012)
  const banner = page.getByText('Reconnecting')
  await expect(banner).toHaveText(/in [45]\d s…$/)
  for (const hours of [-3, 5]) {
    await set(hours)
    // each tick of the countdown reads the clock
    const before = await banner.textContent()
    await expect(banner).not.toHaveText(before ?? '')
    await expect(banner).toHaveText(/in [345]\d s…$/)
  }
  await page.getByRole('button', { name: 'Try now' }).click()
  await ann.isLive()
  await ann.say('on time')
  await expect(ann.row('on time')).toHaveAttribute('data-state', 'sent')
})
