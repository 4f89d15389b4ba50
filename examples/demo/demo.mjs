// Fills a few rooms with a conversation of several bots, over the public protocol and with the JavaScript SDK.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client } from '../../web/sdk/dist/index.js'
import { rooms } from './conversation.mjs'

const ROOT = join(import.meta.dirname, '../..')
const READY_WITHIN_MS = 20_000
/** So many lines of each room come at once, so that nobody looks into an empty room. */
const HEAD_START = 6
const PAUSE_MS = 9000

const address = new URL(process.env.HUBBUB_URL ?? 'http://127.0.0.1:8080')
const options = readOptions()
const end = new AbortController()
const clients = new Map()

function readOptions() {
  try {
    const { values } = parseArgs({ options: { speed: { type: 'string', default: '1' }, once: { type: 'boolean' }, help: { type: 'boolean' } } })
    if (values.help) usage(0)
    const speed = Number(values.speed)
    if (!(speed > 0)) throw new Error(`--speed ${values.speed}: it has to be a number above 0`)
    return { ...values, speed }
  } catch (error) {
    console.error(error.message)
    return usage(2)
  }
}

function usage(code) {
  console.log(`make demo ARGS="[--speed N] [--once]"

  --speed N  talk N times as fast [1]
  --once     end when all is said, instead of beginning anew

HUBBUB_URL names the server [http://127.0.0.1:8080]; where none runs there, one is started. Ctrl-C ends both.`)
  process.exit(code)
}

function sleep(ms) {
  return delay(ms / options.speed, undefined, { signal: end.signal })
}

async function isRunning() {
  try {
    return (await fetch(new URL('/health/live', address))).ok
  } catch {
    return false
  }
}

function build() {
  console.log('Building Hubbub…')
  const { status } = spawnSync('cargo', ['build', '--release', '--bin', 'hubbub'], { cwd: ROOT, stdio: 'inherit' })
  if (status !== 0) throw new Error('Hubbub cannot be built')
  return join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'release/hubbub')
}

/** Starts an instance of its own process group, for it is to outlive the goodbyes that Ctrl-C brings about. */
async function startServer() {
  const args = ['--listen', address.host, '--admin-listen', 'off']
  const server = spawn(process.env.HUBBUB_BIN ?? build(), args, { stdio: 'ignore', detached: true })
  const until = Date.now() + READY_WITHIN_MS
  while (!(await isRunning())) {
    if (server.exitCode !== null || Date.now() > until) throw new Error(`no server came up at ${address.origin}`)
    await delay(100)
  }
  return server
}

/** Whoever speaks keeps the same session in every run, and so stays the same person. */
function sessionOf(name) {
  return createHash('sha256').update(`hubbub demo: ${name}`).digest().subarray(0, 16).toString('base64url')
}

function clientOf(name) {
  const known = clients.get(name)
  if (known) return known
  const where = Object.keys(rooms).filter((room) => rooms[room].includes(`\n${name}: `))
  const client = new Client({ server: address, name, rooms: where, session: sessionOf(name) })
  clients.set(name, client)
  client.connect()
  return client
}

async function write(client, room, body) {
  const until = Date.now() + Math.min(700 + 35 * body.length, 7000) / options.speed
  while (Date.now() < until) {
    client.typing(room)
    await sleep(Math.min(2000, (until - Date.now()) * options.speed))
  }
}

async function play(room) {
  for (const [index, line] of rooms[room].trim().split('\n').entries()) {
    const [, name, text] = /^(.+?): (.*)$/.exec(line) ?? []
    if (name === undefined) {
      await sleep(PAUSE_MS)
      continue
    }
    const client = clientOf(name)
    const body = text.replaceAll('\\n', '\n')
    if (index >= HEAD_START) {
      await sleep(600 + 3500 * Math.random())
      await write(client, room, body)
    }
    await client.publish(room, body)
  }
}

function sayGoodbye() {
  end.abort()
  for (const client of clients.values()) client.close()
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, sayGoodbye)

const server = (await isRunning()) ? undefined : await startServer()
console.log(`Open ${address.origin} and look into ${Object.keys(rooms).join(', ')}. Ctrl-C ends the conversation.`)
try {
  do {
    await Promise.all(Object.keys(rooms).map(play))
    if (!options.once) await sleep(10 * PAUSE_MS)
  } while (!options.once)
} catch (error) {
  if (!end.signal.aborted) throw error
} finally {
  sayGoodbye()
  if (server?.exitCode === null) {
    server.kill('SIGTERM')
    await once(server, 'exit')
  }
}
