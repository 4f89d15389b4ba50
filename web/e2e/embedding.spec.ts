import { request as httpRequest } from 'node:http'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { addresses, expect, test } from './person'

const FIRST_LOAD_BYTES = 110 * 1024

type Answer = { status: number; headers: Record<string, string | string[] | undefined>; body: Buffer }

/** Asks as plainly as can be: a browser would unpack, and keep what it has. */
function ask(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(new URL(path, addresses.a), { headers }, (answer) => {
      const parts: Buffer[] = []
      answer.on('data', (part: Buffer) => parts.push(part))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(parts) }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

test('the first load takes at most 110 KB of code, and the rest comes when it is wanted', async ({ person, room }) => {
  const ann = await person('Ann')
  const loaded: { path: string; bytes: number }[] = []
  ann.page.on('response', async (response) => {
    const path = new URL(response.url()).pathname
    if (path.endsWith('.js')) loaded.push({ path, bytes: (await response.request().sizes()).responseBodySize })
  })
  await ann.enter(room)
  await ann.say('hello')
  await ann.page.waitForLoadState('networkidle')
  const bytes = loaded.reduce((sum, file) => sum + file.bytes, 0)
  test.info().annotations.push({ type: 'first load', description: `${bytes} bytes of JavaScript` })
  expect(loaded.length).toBeGreaterThan(0)
  expect(bytes).toBeGreaterThan(10_000)
  expect(bytes).toBeLessThanOrEqual(FIRST_LOAD_BYTES)

  const atFirst = loaded.length
  await ann.page.getByRole('button', { name: 'Emoji' }).click()
  await expect(ann.page.getByRole('gridcell', { name: 'grinning face', exact: true })).toBeVisible()
  await expect.poll(() => loaded.length).toBeGreaterThan(atFirst)
})

test('every file has a packed form that is the same, a tag, and if its name has a hash, no end', async () => {
  const seen = new Set<string>()
  const due = ['/']
  for (let path = due.pop(); path !== undefined; path = due.pop()) {
    if (seen.has(path)) continue
    seen.add(path)
    const plain = await ask(path)
    expect(plain.status, path).toBe(200)
    for (const [, found = ''] of plain.body.toString('latin1').matchAll(/["'`(](?:\.\/|\/)?((?:assets\/)?[\w.-]+\.(?:js|css|woff2|svg))["'`)]/g)) {
      const next = found.startsWith('assets/') ? `/${found}` : new URL(found, `http://x${path}`).pathname
      if ((await ask(next)).status === 200) due.push(next)
    }
    expect(plain.headers['cache-control'], path).toMatch(path.startsWith('/assets/') ? /immutable/ : /^no-cache$/)
    const unchanged = await ask(path, { 'if-none-match': String(plain.headers.etag) })
    expect([unchanged.status, unchanged.body.length], path).toEqual([304, 0])
    for (const [encoding, unpack] of [['br', brotliDecompressSync], ['gzip', gunzipSync]] as const) {
      const packed = await ask(path, { 'accept-encoding': encoding })
      if (packed.headers['content-encoding'] === undefined) {
        expect(/\.(js|css|svg)$|\/$/.test(path) && plain.body.length > 1024, `${path} has no ${encoding}`).toBe(false)
        continue
      }
      expect(packed.headers.etag, path).not.toBe(plain.headers.etag)
      expect(unpack(packed.body).equals(plain.body), path).toBe(true)
    }
  }
  for (const kind of [/\.js$/, /\.css$/, /\.woff2$/, /\.svg$/]) expect([...seen].some((path) => kind.test(path)), String(kind)).toBe(true)
})

test('a part of the page that cannot be loaded is missed, and the rest goes on', async ({ browser, room }) => {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.route('**/assets/emoji-picker-*.js', (route) => route.abort())
  await page.goto(`/#/r/${room}`)
  await page.getByLabel('Your name').fill('Ann')
  await page.getByRole('button', { name: 'Join' }).click()
  await page.getByRole('button', { name: 'Emoji' }).click()
  await expect(page.getByText('This part of the page could not be loaded')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Emoji' })).toBeFocused()
  await page.getByRole('textbox', { name: /^Message in / }).fill('still here')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('log').getByText('still here')).toBeVisible()
  await context.close()
})
