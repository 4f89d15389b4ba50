import type { Page } from '@playwright/test'
import { news } from './past'
import { expect, test, Wire } from './person'

const MARKUP = [
  '<script>document.title = "broken"</script>',
  '<img src=x onerror="document.title=\'broken\'">',
  '<svg onload=alert(1)><a href="javascript:alert(1)">x</a></svg>',
  '"><iframe srcdoc="<script>parent.document.title=1</script>"></iframe>',
  '{{constructor.constructor("alert(1)")()}} ${alert(1)} &lt;b&gt; &#x3c;b&#x3e;',
  'javascript:alert(1) data:text/html,<script>alert(1)</script> vbscript:x',
  '```html\n<script>alert(1)</script>\n```',
  '`<img src=x onerror=alert(1)>`',
]

/** Notes what the policy of the page forbids. */
async function watchPolicy(page: Page): Promise<() => Promise<string[]>> {
  await page.addInitScript(() => {
    const violations: string[] = []
    Object.assign(window, { violations })
    document.addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))
  })
  return () => page.evaluate(() => (window as unknown as { violations: string[] }).violations)
}

test('nothing that is said becomes markup', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('<b>Bob</b>')]
  const violations = await watchPolicy(ann.page)
  let dialogs = 0
  ann.page.on('dialog', async (dialog) => {
    dialogs += 1
    await dialog.dismiss()
  })
  await ann.enter(room)
  await bob.enter(room)
  for (const text of MARKUP) await bob.say(text)
  await expect(ann.log.getByTestId('body')).toHaveCount(MARKUP.length)
  await expect(ann.log.getByTestId('body').first()).toHaveText(MARKUP[0] ?? '')
  await expect(ann.log.getByText('<b>Bob</b>')).toBeVisible()
  await expect(ann.log.locator('script, img, iframe, svg:not([aria-hidden]), b, a')).toHaveCount(0)
  await expect(ann.page).not.toHaveTitle(/broken/)
  expect(dialogs).toBe(0)
  expect(await violations()).toEqual([])
})

test('text that turns its direction stays in its own row, and out of addresses', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say(news(1, room, { body: '\u202egnp.exe \u2066\u2067 and on', from: { id: 'eve', name: 'Eve' } }))
  wire.say(news(2, room, { body: 'https://example.org/\u202egnp.exe', from: { id: 'eve', name: 'Eve' } }))
  wire.say(news(3, room, { body: 'after', from: { id: 'eve', name: '\u202eevE' } }))
  const link = ann.log.getByRole('link')
  await expect(link).toHaveText('https://example.org/')
  await expect(link).toHaveAttribute('href', 'https://example.org/')
  const directions = await ann.log.getByTestId('body').locator('p').evaluateAll((bodies) =>
    bodies.map((body) => getComputedStyle(body).unicodeBidi),
  )
  expect(directions.every((direction) => /isolate|plaintext/.test(direction))).toBe(true)
  const name = ann.row('after').getByText('evE')
  expect(await name.evaluate((element) => getComputedStyle(element).unicodeBidi)).toMatch(/isolate/)
})

test('a message or a name without anything to see says so', async ({ person, room }) => {
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  wire.say(news(1, room, { body: '\u200b\u200d\u2060\ufeff', from: { id: 'eve', name: '\u200b\u3164' } }))
  await expect(ann.log.getByText('(empty message)')).toBeVisible()
  await expect(ann.log.getByText('Someone', { exact: true })).toBeVisible()
  await expect(ann.page.locator('#announcer')).toHaveText('Someone: (empty message)')
  wire.say({ type: 'typing', room, from: [{ id: 'eve', name: '\u2800' }] })
  await expect(ann.page.getByTestId('typing')).toHaveText('Someone is typing')
})

test('a word of 8 KiB, a pile of signs and a thousand lines stay within their row', async ({ person, room }) => {
  test.slow()
  const [ann, bob] = [await person('Ann', { viewport: { width: 360, height: 740 } }), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await bob.enter(room)
  await bob.say('W'.repeat(8192))
  await expect(ann.log.getByTestId('body')).toHaveCount(1)
  wire.say(news(1, room, { body: `pile${'\u0301\u0316'.repeat(300)}` }))
  wire.say(news(2, room, { body: 'line\n'.repeat(1000) }))
  wire.say(news(3, room, { body: 'last' }))
  await expect(ann.row('last')).toBeInViewport()
  expect(await ann.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
  expect(await ann.log.evaluate((log) => log.scrollWidth - log.clientWidth)).toBe(0)
  for (const row of await ann.log.locator('[data-index]').all()) {
    expect(await row.evaluate((element) => element.getBoundingClientRect().height)).toBeLessThan(500)
  }
  const whole = ann.page.getByRole('button', { name: 'Show more' }).last()
  await whole.click()
  await expect(ann.page.getByRole('button', { name: 'Show less' })).toBeAttached()
})

test.describe('from a server that is not to be trusted', () => {
  test.use({ mayComplain: true })

  test('a message that cannot be shown is missed, and everything around it is there', async ({ person, room }) => {
    const ann = await person('Ann')
    const wire = await Wire.tap(ann.page)
    await ann.enter(room)
    wire.say(news(1, room, { body: 'before' }))
    wire.say(news(2, room, { body: 'never', at: 9e15 }))
    wire.say(news(3, room, { body: 'after' }))
    await expect(ann.row('before')).toBeVisible()
    await expect(ann.log.getByText('This message can’t be shown')).toHaveCount(1)
    await expect(ann.row('after')).toBeVisible()
    await ann.say('still here')
    await expect(ann.row('still here')).toHaveAttribute('data-state', 'sent')
    await ann.goTo(`${room}-2`)
    await ann.goTo(room)
    await expect(ann.row('still here')).toBeVisible()
  })

  test('what is no message of the protocol is dropped, and what comes after it is there', async ({ person, room }) => {
    const ann = await person('Ann')
    const wire = await Wire.tap(ann.page)
    await ann.enter(room)
    wire.say({ ...news(1, room), body: null })
    wire.say({ ...news(2, room), from: 'nobody' })
    wire.say({ type: 'typing', room, from: 7 })
    wire.say(news(3, room, { body: 'after' }))
    await expect(ann.row('after')).toBeVisible()
    await expect(ann.log.locator('[data-index]')).toHaveCount(1)
    await ann.say('still here')
    await expect(ann.row('still here')).toHaveAttribute('data-state', 'sent')
  })
})

test('half an emoji that is pasted is sent as a sign that everyone can show', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room)
  await bob.enter(room)
  // keys and `fill` cannot bring half a sign
  await ann.composer.evaluate((field: HTMLTextAreaElement) => {
    field.focus()
    document.execCommand('insertText', false, 'half \ud83d an emoji')
  })
  await ann.composer.press('Enter')
  await ann.say('and on')
  for (const one of [ann, bob]) await one.sees(['half \ufffd an emoji', 'and on'])
  await expect(ann.log.locator('[data-state=failed]')).toHaveCount(0)
})
