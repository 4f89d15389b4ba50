import { expect, test, Wire } from './person'

test('what the browser complains about fails a test, unless it cut the wire itself', async ({ person }) => {
  const ann = await person('Ann')
  await ann.page.goto('/')
  const ask = () => ann.page.evaluate(async () => (await fetch('ws', { method: 'POST' }).catch(() => undefined))?.status)
  expect(await ask()).toBe(426)
  await expect.poll(() => ann.errors).toEqual(['Failed to load resource: the server responded with a status of 426 (Upgrade Required)'])
  ann.errors.length = 0
  const wire = await Wire.tap(ann.page)
  wire.isCut = true
  const complaint = ann.page.waitForEvent('console')
  expect(await ask()).toBeUndefined()
  expect((await complaint).text()).toContain('net::ERR_FAILED')
  expect(ann.errors).toEqual([])
})
