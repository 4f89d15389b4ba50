import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { addresses, expect, test } from './person'

const SDK = join(import.meta.dirname, '../sdk')
const TSC = join(import.meta.dirname, '../node_modules/typescript/bin/tsc')
const MAJOR = Number(process.versions.node.split('.')[0])
const run = promisify(execFile)

/** A directory of someone who installed the package. */
let directory = ''

test.beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hubbub-sdk-'))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', directory], { cwd: SDK })
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[')))
  await writeFile(join(directory, 'package.json'), JSON.stringify({ type: 'module', private: true }))
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', `./${filename}`], { cwd: directory })
})

test.afterAll(() => rm(directory, { recursive: true, force: true }))

/** Runs a program beside the installed package. Returns what it says. */
async function program(source: string): Promise<string> {
  const file = join(directory, 'program.mjs')
  await writeFile(file, source)
  const flags = MAJOR < 22 ? ['--experimental-websocket', '--no-warnings'] : []
  const { stdout } = await run(process.execPath, [...flags, file], { timeout: 30_000 })
  return stdout
}

async function example(): Promise<string> {
  const readme = await readFile(join(SDK, 'README.md'), 'utf8')
  return /```js\n(.*?)```/s.exec(readme)?.[1] ?? ''
}

test('the package brings its licence', async () => {
  const packed = await readFile(join(directory, 'node_modules/hubbub-client/LICENSE'), 'utf8')
  expect(packed).toBe(await readFile(join(SDK, '../../LICENSE'), 'utf8'))
})

test('the first example of the README runs as it stands', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  const source = (await example()).replace('http://127.0.0.1:8080', addresses.here).replaceAll('lobby', room)
  expect(await program(source)).toMatch(/The log has it as number \d{10,}\./)
  await ann.sees(['Hello from a program.'])
})

test('two programs on two instances and a page hear the same, once and in order', async ({ person, room }) => {
  const ann = await person('Ann')
  await ann.enter(room)
  const said = Array.from({ length: 10 }, (_, n) => `number ${n}`)
  const output = await program(`
    import { Client } from 'hubbub-client'
    const clients = ${JSON.stringify([addresses.a, addresses.b])}.map(
      (server, n) => new Client({ server, name: 'Bot ' + n, rooms: ['${room}'] }))
    const heard = clients.map(() => [])
    const done = clients.map((client, n) => new Promise((resolve) => {
      client.on('message', ({ seq, from, body }) => {
        heard[n].push([seq, from.name, body])
        if (heard[n].length === 20) resolve()
      })
    }))
    await Promise.all(clients.map((client) => new Promise((resolve) => {
      client.on('link', ({ state }) => state === 'live' && resolve())
      client.connect()
    })))
    const receipts = clients.map((client) => ${JSON.stringify(said)}.map((body) => client.publish('${room}', body)))
    await Promise.all([...receipts.flat(), ...done])
    for (const client of clients) client.close()
    console.log(JSON.stringify(heard))
  `)
  const [left, right]: [number, string, string][][] = JSON.parse(output)
  expect(left).toHaveLength(20)
  expect(right).toEqual(left)
  const seqs = left?.map(([seq]) => seq) ?? []
  expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
  for (const bot of ['Bot 0', 'Bot 1']) {
    expect(left?.filter(([, name]) => name === bot).map(([, , body]) => body)).toEqual(said)
  }
  await ann.sees(left?.map(([, , body]) => body) ?? [])
})

const TYPED = `
import { Client, type ClientEvents, type Message } from 'hubbub-client'
const client = new Client({ server: 'http://127.0.0.1:8080', name: 'Ann' })
const onMessage = ({ seq, from, body, was }: Message) => [seq + 1, from.name, body, was?.toFixed()]
client.on('message', onMessage)
`

test('its types hold in a strict project, and refuse what is wrong', async () => {
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,dom', '--types', '']
  const check = async (line: string) => {
    await writeFile(join(directory, 'program.mts'), TYPED + line)
    await run(process.execPath, [TSC, ...options, 'program.mts'], { cwd: directory })
  }
  await check(`client.on('link', (link: ClientEvents['link']) => link.state === 'waiting' && link.until)`)
  await expect(check(`client.on('whisper', console.log)`)).rejects.toMatchObject({ stdout: /"whisper"/ })
})
