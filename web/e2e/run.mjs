// Runs the browser tests against the real thing: Redis, two instances, HAProxy and nginx before them, Chromium in front. All of it
// twice, so that two tests at a time do not meddle with each other.
//   HUBBUB_BIN=../../target/debug/hubbub node run.mjs [options of `playwright test`]
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'

const HERE = import.meta.dirname
const PLAYWRIGHT = join(HERE, 'node_modules/@playwright/test/cli.js')
const RESULTS = join(HERE, 'test-results')
const SYSTEMS = 2
const READY_WITHIN_MS = 20_000
const STOP_WITHIN_MS = 5000
/** Of a long error the beginning says enough. */
const LINES_OF_AN_ERROR = 12

/** How long a process that ended stays away. The tests end them, to see what happens meanwhile and after. */
const BACK_AFTER_MS = 1500

const binary = resolve(process.env.HUBBUB_BIN ?? join(HERE, '../../target/debug/hubbub'))
const directory = mkdtempSync(join(tmpdir(), 'hubbub-e2e-'))
/** The processes by name. Their output is shown only if something goes wrong. */
const processes = new Map()
let isOver = false

/** Starts a process of a system, and again whenever it ends. A file under its name tells its pid. */
function keep(home, name, command, args) {
  const child = spawn(command, args, { cwd: home, stdio: ['ignore', 'pipe', 'pipe'] })
  const file = join(home, name)
  const entry = { child, output: processes.get(file)?.output ?? '' }
  processes.set(file, entry)
  if (child.pid !== undefined) writeFileSync(file, `${child.pid}`)
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (entry.output += text))
  child.on('error', (error) => (entry.output += error.message))
  child.on('exit', async () => {
    await delay(BACK_AFTER_MS)
    if (!isOver) keep(home, name, command, args)
  })
}

async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => server.address().port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

function haproxy(port, instances) {
  return `
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  retries 3
  retry-on conn-failure empty-response 503
  option redispatch 1

listen hubbub
  bind 127.0.0.1:${port}
  balance leastconn
  option httpchk GET /health/ready
  http-check expect status 200
  default-server check inter 200ms fall 2 rise 1
${Object.entries(instances)
  .map(([name, address]) => `  server ${name} 127.0.0.1:${address}`)
  .join('\n')}
`
}

const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;'

function nginxServer(port, locations) {
  return `
  server {
    listen 127.0.0.1:${port};
    ${locations.join('')}
  }`
}

/** An nginx before the proxy: in two directories that it strips, and set up wrongly in the two ways that are most common. */
function nginx(proxy, [path, portless, noUpgrade]) {
  const location = (at, headers) => `
    location ${at} {
      proxy_pass http://127.0.0.1:${proxy}/;
      proxy_http_version 1.1;
      ${headers}
    }`
  const stripped = ['/chat/', '/talk/'].map((at) => location(at, `proxy_set_header Host $http_host; ${UPGRADE}`))
  return `
daemon off;
pid nginx.pid;
worker_processes 1;
error_log stderr;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path nginx-${name};`).join(' ')}
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  ${nginxServer(path, stripped)}
  ${nginxServer(portless, [location('/', `proxy_set_header Host $host; ${UPGRADE}`)])}
  ${nginxServer(noUpgrade, [location('/', 'proxy_set_header Host $http_host;')])}
}
`
}

async function isReady(address) {
  try {
    return (await fetch(`${address}/health/ready`)).status === 200
  } catch {
    return false
  }
}

async function waitUntilReady(address) {
  const until = Date.now() + READY_WITHIN_MS
  while (!(await isReady(address))) {
    if (Date.now() > until) throw new Error(`${address}/health/ready did not answer 200 in time`)
    await delay(100)
  }
}

/** Redis, the instances a and b, HAProxy and nginx. Returns what the tests have to know. */
async function startSystem([redis, a, b, proxy, ...nginxPorts]) {
  const home = mkdtempSync(join(directory, 'system-'))
  keep(home, 'redis', 'redis-server', ['--port', redis, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'].map(String))
  const prefix = `e2e-${randomBytes(6).toString('hex')}`
  for (const [name, port] of Object.entries({ a, b })) {
    const options = {
      '--listen': `127.0.0.1:${port}`,
      '--admin-listen': 'off',
      '--redis-url': `redis://127.0.0.1:${redis}`,
      '--prefix': prefix,
      '--instance': name,
      '--drain-delay': '1s',
      '--drain-window': '1s',
    }
    keep(home, name, binary, Object.entries(options).flat())
  }
  const configuration = join(home, 'haproxy.cfg')
  writeFileSync(configuration, haproxy(proxy, { a, b }))
  keep(home, 'haproxy', 'haproxy', ['-db', '-f', configuration])
  const nginxConfiguration = join(home, 'nginx.conf')
  writeFileSync(nginxConfiguration, nginx(proxy, nginxPorts))
  keep(home, 'nginx', 'nginx', ['-e', 'stderr', '-p', home, '-c', nginxConfiguration])
  const [urlA, urlB, url, path, portless, noUpgrade] = [a, b, proxy, ...nginxPorts].map((port) => `http://127.0.0.1:${port}`)
  await Promise.all([urlA, urlB, url, `${path}/chat`, portless, noUpgrade].map(waitUntilReady))
  return {
    HUBBUB_URL: url,
    HUBBUB_A: urlA,
    HUBBUB_B: urlB,
    HUBBUB_PATH: path,
    HUBBUB_PORTLESS: portless,
    HUBBUB_NO_UPGRADE: noUpgrade,
    HUBBUB_PIDS: home,
  }
}

async function startSystems() {
  const ports = await freePorts(SYSTEMS * 7)
  return Promise.all(Array.from({ length: SYSTEMS }, (_, n) => startSystem(ports.slice(n * 7, n * 7 + 7))))
}

/** Runs the tests. Returns how many passed and what tells of each that did not; those that could not run failed. */
async function runTests(systems) {
  const args = [PLAYWRIGHT, 'test', ...process.argv.slice(2)]
  const env = { ...process.env, HUBBUB_SYSTEMS: JSON.stringify(systems) }
  const child = spawn(process.execPath, args, { cwd: HERE, stdio: 'inherit', env })
  processes.set('playwright', { child, output: '' })
  const [code] = await once(child, 'exit')
  const { suites, errors, stats } = JSON.parse(readFileSync(join(RESULTS, 'report.json'), 'utf8'))
  const failures = [...suites.flatMap(specsOf).flatMap(failuresOf), ...errors.map(({ message }) => message)]
  if (failures.length === 0 && code !== 0) failures.push(`playwright ended with ${code}`)
  return { passed: stats.expected, failures }
}

function specsOf({ specs, suites = [] }) {
  return [...specs, ...suites.flatMap(specsOf)]
}

/** The name of a test that did not pass, and why. */
function failuresOf({ file, line, title, tests }) {
  const bad = tests.filter(({ status }) => status !== 'expected')
  return bad.map(({ status, results }) => {
    const why = results.flatMap(({ errors }) => errors.map(({ message }) => indent(stripVTControlCharacters(message))))
    return [`${file}:${line} › ${title}: ${status}`, ...why].join('\n')
  })
}

function indent(text) {
  return text.split('\n').slice(0, LINES_OF_AN_ERROR).map((line) => `    ${line}`).join('\n')
}

async function stop({ child }) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
  await exit
  clearTimeout(kill)
}

function showOutput() {
  for (const [name, { output }] of processes) if (output !== '') console.error(`--- ${name} ---\n${output.slice(-8000)}`)
}

async function main() {
  if (!existsSync(binary)) throw new Error(`there is no hubbub at ${binary}: build it, or name it in HUBBUB_BIN`)
  if (!existsSync(PLAYWRIGHT)) spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: HERE, stdio: 'inherit' })
  return runTests(await startSystems())
}

async function cleanUp() {
  isOver = true
  await Promise.all([...processes.values()].map(stop))
  rmSync(directory, { recursive: true, force: true })
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await cleanUp()
    process.exit(1)
  })
}

let passed = 0
let failures
try {
  ;({ passed, failures } = await main())
} catch (error) {
  failures = [error.message]
}
if (failures.length > 0) showOutput()
await cleanUp()
// last, and in a file for whoever ran more than this: what went wrong is the first that one wants to know
const summary = [...failures, `${passed} passed, ${failures.length} failed`].join('\n')
mkdirSync(RESULTS, { recursive: true })
writeFileSync(join(RESULTS, 'summary.txt'), `${summary}\n`)
console.log(summary)
process.exitCode = failures.length > 0 ? 1 : 0
