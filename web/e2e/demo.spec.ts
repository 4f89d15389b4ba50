import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { addresses, expect, test } from './person'

const ROOT = join(import.meta.dirname, '../..')
const COMMAND = ['--experimental-websocket', '--no-warnings', join(ROOT, 'examples/demo/demo.mjs')]
const run = promisify(execFile)

function demo(...options: string[]) {
  const env = { ...process.env, HUBBUB_URL: addresses.here }
  return spawn(process.execPath, [...COMMAND, ...options], { env, stdio: ['ignore', 'pipe', 'inherit'] })
}

test.beforeAll(async () => {
  await run('npm', ['run', 'build'], { cwd: join(ROOT, 'web/sdk') })
})

test('the demo fills its rooms with a conversation', async ({ person }) => {
  const ann = await person('Ann')
  await ann.enter('book-club', addresses.b)
  const before = (await ann.seqs()).at(-1) ?? 0
  const [code] = await once(demo('--once', '--speed', '200'), 'exit')
  expect(code).toBe(0)
  // the demo has rooms of its own, in which it may have spoken before
  await expect(async () => {
    const lines = (await ann.lines()).filter(({ seq = 0 }) => seq > before)
    expect(lines.filter(({ text }) => text === 'The weather is the plot.')).toHaveLength(1)
    expect(lines.at(-1)?.text).toBe('☔')
  }).toPass()
})

test('the demo ends when it is told to', async () => {
  const child = demo()
  await once(child.stdout, 'data')
  const exit = once(child, 'exit')
  child.kill('SIGINT')
  expect(await exit).toEqual([0, null])
})
