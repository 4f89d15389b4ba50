import { once } from 'node:events'
import type { Locator, Page } from '@playwright/test'
import { news, said, tellPast, type Said } from './past'
import { expect, test, Wire, type Person } from './person'

const FEW = 300
const MANY = 10_000
/** How many tasks count as the longest: in one alone memory may be cleared. */
const LONGEST = 20
/** So many times the work is much more. Work that grows as the messages do would be 33 times as much. */
const MUCH = 3
const PER_SECOND = 50

function past(count: number, room: string) {
  const start = Date.now() - count * 20_000
  return Array.from({ length: count }, (_, n) => said(n, room, { at: start + n * 20_000 }))
}

/** Lets it rain messages for a while, at a steady pace. Returns how many came. */
async function rain(wire: Wire, room: string, from: number, seconds: number): Promise<number> {
  const start = Date.now()
  let n = 0
  while (n < seconds * PER_SECOND) {
    for (; n < ((Date.now() - start) / 1000) * PER_SECOND; n += 1) wire.say(news(from + n, room, { at: Date.now() }))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return n
}

/** The row nearest to the top of the list that is wholly in view, and how far down it is. */
async function topRow(log: Locator): Promise<{ key: string; y: number }> {
  return log.evaluate((element) => {
    const top = element.getBoundingClientRect().top
    const rows = [...element.querySelectorAll<HTMLElement>('[data-seq]')]
    const row = rows.find((one) => one.getBoundingClientRect().top > top + 60)
    return { key: row?.dataset.key ?? '', y: row?.getBoundingClientRect().top ?? 0 }
  })
}

/** Notes in each frame where this row is. Returns what tells of it, each place once. */
async function watchRow(page: Page, key: string): Promise<() => Promise<(number | undefined)[]>> {
  const watch = await page.evaluateHandle((wanted) => {
    const places = new Set<number | undefined>()
    const note = () => {
      places.add(document.querySelector(`[data-key="${wanted}"]`)?.getBoundingClientRect().top)
      requestAnimationFrame(note)
    }
    note()
    return places
  }, key)
  return () => watch.evaluate((places) => [...places])
}

async function isAtEnd({ log }: Person): Promise<boolean> {
  return log.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight < 2)
}

type TraceEvent = { name: string; ph: string; pid: number; tid: number; tdur?: number; args: { name?: string } }

/**
 * The longest tasks on the page's main thread while this is done, all of them together, in milliseconds of processor time: what
 * else the machine does meanwhile does not count.
 */
async function longestTasks(page: Page, during: () => Promise<void>): Promise<number> {
  const browser = page.context().browser()
  await browser?.startTracing(page, { categories: ['toplevel'] })
  await during()
  const trace: { traceEvents: TraceEvent[] } = JSON.parse(String(await browser?.stopTracing()))
  const events = trace.traceEvents
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
  const tasks = events.filter(({ name, pid, tid }) => name.endsWith('RunTask') && mains.some((main) => main.pid === pid && main.tid === tid))
  expect(tasks.length).toBeGreaterThan(100)
  const longest = tasks.map(({ tdur = 0 }) => tdur / 1000).toSorted((a, b) => b - a).slice(0, LONGEST)
  return longest.reduce((sum, duration) => sum + duration)
}

/** Jumps all over it, elsewhere in each frame: no row stays in view, however many there are. Returns the most rows that were in the page. */
async function scrollAbout({ log }: Person): Promise<number> {
  return log.evaluate(async (element) => {
    let most = 0
    for (let frame = 0; frame < 120; frame += 1) {
      element.scrollTo({ top: element.scrollHeight * ((frame * 0.618) % 1) })
      await new Promise((resolve) => requestAnimationFrame(resolve))
      most = Math.max(most, element.querySelectorAll('[data-index]').length)
    }
    return most
  })
}

/** What the longest tasks of a page take while a room with so long a past loads, while messages come in, and while one scrolls. */
async function workOf(ann: Person, wire: Wire, room: string, count: number) {
  await tellPast(ann.page, room, past(count, room), count)
  // whatever comes later has a higher number, in every room
  const first = 3 * count
  const came = { before: 0, meanwhile: 0 }
  let most = 0
  const load = await longestTasks(ann.page, async () => {
    await ann.goTo(room)
    await expect(ann.log.locator('[data-index]').first()).toBeVisible()
    await expect.poll(() => isAtEnd(ann)).toBe(true)
  })
  const listen = await longestTasks(ann.page, async () => {
    came.before = await rain(wire, room, first, 2)
  })
  const scroll = await longestTasks(ann.page, async () => {
    const raining = rain(wire, room, first + came.before, 2)
    most = await scrollAbout(ann)
    came.meanwhile = await raining
  })
  expect.soft(most).toBeLessThan(60)
  await ann.composer.press('Escape')
  await expect(ann.row(news(first + came.before + came.meanwhile - 1, room).body)).toBeInViewport()
  expect(await isAtEnd(ann)).toBe(true)
  expect.soft(await ann.log.locator('[data-index]').count()).toBeLessThan(60)
  return { load, listen, scroll }
}

test('ten thousand messages and fifty more a second: few rows, hardly more work than with few, and the end stays in view', async ({ person, room }) => {
  test.slow()
  const ann = await person('Ann')
  const wire = await Wire.tap(ann.page)
  await ann.enter(`${room}-lobby`)
  const few = await workOf(ann, wire, `${room}-few`, FEW)
  const many = await workOf(ann, wire, `${room}-many`, MANY)
  for (const what of ['load', 'listen', 'scroll'] as const) {
    test.info().annotations.push({ type: what, description: `${few[what].toFixed(0)} ms with ${FEW}, ${many[what].toFixed(0)} ms with ${MANY}` })
    expect.soft(many[what] / few[what], what).toBeLessThan(MUCH)
  }
})

test('whoever reads further up does not lose the line, whatever comes in', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, past(2000, room), 2000)
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  await ann.log.evaluate((log) => log.scrollTo({ top: log.scrollHeight / 2 }))
  await expect(ann.page.getByRole('button', { name: 'Jump to latest' })).toBeVisible()
  const { key, y } = await topRow(ann.log)
  const places = await watchRow(ann.page, key)
  const count = await rain(wire, room, 0, 2)
  await expect(ann.page.getByRole('button', { name: `${count} new` })).toBeVisible()
  expect(await places()).toEqual([y])
  expect(await ann.log.locator('[data-index]').count()).toBeLessThan(60)
})

test('older messages come by themselves, and the line that is read stays where it is', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, past(400, room))
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  const height = await ann.log.evaluate((log) => log.scrollHeight)
  const release = await holdHistory(ann.page, room)
  await ann.log.evaluate((log) => log.scrollTo({ top: 40 }))
  await expect(ann.log.getByText('Loading…')).toBeVisible()
  const { key, y } = await topRow(ann.log)
  const places = await watchRow(ann.page, key)
  release()
  await expect.poll(() => ann.log.evaluate((log) => log.scrollHeight)).toBeGreaterThan(height)
  await ann.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
  expect(await places()).toEqual([y])
  expect((await ann.lines()).map(({ seq }) => seq)).toEqual(Array.from({ length: 400 }, (_, n) => n + 1))
  await ann.log.evaluate((log) => log.scrollTo({ top: 0 }))
  await expect(ann.log.getByText(`This is the start of #${room}.`)).toBeVisible()
})

/** Keeps the next page of history back until the returned function is called. */
async function holdHistory(page: Page, room: string): Promise<() => void> {
  const gate = new AbortController()
  await page.route(`**/v1/rooms/${room}/messages?*`, async (route) => {
    if (!gate.signal.aborted) await once(gate.signal, 'abort')
    await route.fallback()
  })
  return () => gate.abort()
}

test('a room opens at the first unread message, which has the divider above it', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, past(30, room))
  const wire = await Wire.tap(ann.page)
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  await ann.goTo(`${room}-2`)
  const unread = Array.from({ length: 30 }, (_, n) => news(n, room, { body: `unread ${n}` }))
  for (const message of unread) wire.say(message)
  await expect(ann.page).toHaveTitle(/^\(30\) /)
  await ann.goTo(room)
  const divider = ann.log.getByRole('separator', { name: 'New' })
  await expect(divider).toBeInViewport()
  await expect(ann.log.locator('[data-index]', { has: ann.page.getByRole('separator', { name: 'New' }) }).getByTestId('body')).toHaveText('unread 0')
  const pill = ann.page.getByRole('button', { name: '30 new' })
  await pill.click()
  await expect(ann.row('unread 29')).toBeInViewport()
  await expect(pill).toBeHidden()
  await expect(ann.page).toHaveTitle(/^#/)
  await expect(async () => {
    await ann.log.evaluate((log) => log.scrollBy({ top: -100 }))
    await expect(divider).toBeInViewport({ timeout: 500 })
  }).toPass()
})

test('the end stays in view whatever becomes of the window', async ({ person, room }) => {
  const ann = await person('Ann')
  await tellPast(ann.page, room, past(50, room))
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  for (const [width, height] of [[900, 400], [360, 740], [1280, 800], [768, 1024], [320, 300]] as const) {
    await ann.page.setViewportSize({ width, height })
    await expect.poll(() => isAtEnd(ann)).toBe(true)
    await expect(ann.page.getByRole('button', { name: 'Jump to latest' })).toBeHidden()
  }
})

test('the end stays in view while one writes many lines', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 900, height: 700 } })
  await tellPast(ann.page, room, past(50, room))
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  await ann.composer.fill('line\n'.repeat(8))
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  await ann.composer.press('End')
  await ann.composer.pressSequentially('and on')
  expect(await isAtEnd(ann)).toBe(true)
  await expect(ann.page.getByRole('button', { name: 'Jump to latest' })).toBeHidden()
})

test('a window that gets higher can bring the end into view, and then one is there', async ({ person, room }) => {
  const ann = await person('Ann', { viewport: { width: 900, height: 400 } })
  await tellPast(ann.page, room, past(50, room))
  await ann.enter(room)
  await expect.poll(() => isAtEnd(ann)).toBe(true)
  await ann.log.evaluate((log) => log.scrollTo({ top: log.scrollHeight - log.clientHeight - 100 }))
  const pill = ann.page.getByRole('button', { name: 'Jump to latest' })
  await expect(pill).toBeVisible()
  await ann.page.setViewportSize({ width: 900, height: 480 })
  await expect(pill).toBeHidden()
})

/** Answers for the server within the page: now sooner, now later than the list is there, and always sooner than a network could. */
function answerHistory(all: readonly Said[]) {
  const { fetch } = window
  const turn = Number(sessionStorage.getItem('turn') ?? 0)
  sessionStorage.setItem('turn', `${turn + 1}`)
  window.fetch = async (input, options) => {
    const url = new URL(String(input))
    if (!url.pathname.endsWith('/messages')) return fetch(input, options)
    await new Promise((resolve) => setTimeout(resolve, (turn * 3) % 60))
    const before = Number(url.searchParams.get('before') ?? Infinity)
    const older = all.filter(({ seq }) => seq < before)
    const messages = older.slice(-50)
    return Response.json({ messages, next: older.length > messages.length ? (messages[0]?.seq ?? null) : null })
  }
}

/** How far down the “New” line is once nothing moves any more, or -1. */
async function whereIsNew(): Promise<number> {
  let [still, last] = [0, '']
  for (let at = performance.now(); still < 150; ) {
    await new Promise((resolve) => requestAnimationFrame(resolve))
    const log = document.querySelector('[role=log]')
    const now = log?.querySelector('[data-index]') ? `${log.scrollTop} ${log.scrollHeight}` : ''
    still = now !== '' && now === last ? still + performance.now() - at : 0
    at = performance.now()
    last = now
  }
  const row = document.querySelector('[role=separator][aria-label=New]')?.closest('[data-index]')
  const log = document.querySelector('[role=log]')
  return row && log ? Math.round(row.getBoundingClientRect().top - log.getBoundingClientRect().top) : -1
}

test('whoever comes back begins at the “New” line, each of a hundred times', async ({ person, room }) => {
  test.setTimeout(240_000)
  const [read, unread] = [85, 84]
  // short ones of one voice: the line is so near to the oldest that are loaded for it that older ones are asked for at once
  const from = { id: 'id-of-Ada', name: 'Ada' }
  const start = Date.now() - 3_600_000
  const brief = Array.from({ length: read + unread }, (_, n) => said(n, room, { from, body: `line ${n}`, at: start + n * 20_000 }))
  const comeBack = async (name: string, times: number): Promise<number[]> => {
    const { page } = await person(name, { viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' })
    await page.addInitScript(
      ([key, seq]) => {
        localStorage.setItem('hubbub.name', '"Ann"')
        localStorage.setItem(`hubbub.room.${key}`, JSON.stringify({ joinedAt: 1, readSeq: seq }))
      },
      [room, read] as const,
    )
    await page.addInitScript(answerHistory, brief)
    const places: number[] = []
    await page.goto(`/#/r/${room}`)
    for (let n = 0; n < times; n += 1) {
      if (n > 0) await page.reload({ waitUntil: 'commit' })
      places.push(await page.evaluate(whereIsNew))
    }
    return places
  }
  // a page that loads is mostly one that waits
  const places = (await Promise.all(['Ann', 'Bob', 'Cid', 'Dan'].map((name) => comeBack(name, 25)))).flat()
  expect(places).toEqual(Array.from({ length: 100 }, () => 40))
})
