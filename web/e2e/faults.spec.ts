import type { Page } from '@playwright/test'
import { addresses, expect, test, Wire, type Line, type Person } from './person'
import { areOurs, end } from './processes'

test.use({ mayComplain: true })

/** Both say something in turn. Returns what they said. */
async function talk(people: readonly Person[], topic: string, rounds = 5): Promise<string[]> {
  const said: string[] = []
  for (let round = 1; round <= rounds; round += 1) {
    for (const person of people) {
      const text = `${person.name} ${topic} ${round}`
      await person.say(text)
      said.push(text)
    }
  }
  return said
}

function by(author: string, texts: readonly string[]): string[] {
  return texts.filter((text) => text.startsWith(author))
}

/** What a page has, once it has as many messages as were said and none of its own waits. */
async function settled(person: Person, count: number): Promise<Line[]> {
  let lines: Line[] = []
  await expect(async () => {
    lines = await person.lines()
    expect(lines.map(({ state }) => state)).toEqual(Array.from({ length: count }, () => 'sent'))
  }).toPass({ timeout: 60_000 })
  return lines
}

/** All see the same list: everything that was said, once, each author's in the order of saying, in the order of the log. */
async function agree(people: readonly Person[], said: readonly string[]) {
  const pages = await Promise.all(people.map((person) => settled(person, said.length)))
  const [first = [], ...others] = pages.map((lines) => lines.map(({ text }) => text))
  for (const author of ['Ann', 'Bob']) expect(by(author, first)).toEqual(by(author, said))
  for (const other of others) expect(other).toEqual(first)
  for (const lines of pages) {
    const seqs = lines.map(({ seq }) => seq ?? 0)
    expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
  }
}

type Room = { room: string; person: (name: string) => Promise<Person> }

type Slot = { drainMs: number; closedAt: number; openedAt: number }

/** Notes when a server that goes asked the page to come back, and when the page did. */
function watchSlots(page: Page): Slot[] {
  const slots: Slot[] = []
  page.on('websocket', (socket) => {
    const due = slots.at(-1)
    if (due) due.openedAt ||= Date.now()
    socket.on('framereceived', ({ payload }) => {
      const frame = JSON.parse(String(payload))
      if (frame.type !== 'drain') return
      const slot = { drainMs: frame.reconnect_after_ms, closedAt: 0, openedAt: 0 }
      slots.push(slot)
      socket.on('close', () => (slot.closedAt = Date.now()))
    })
  })
  return slots
}

/** Ann comes through the proxy, to whichever instance; Bob is at the other. */
async function meet({ room, person }: Room) {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const slots = watchSlots(ann.page)
  await ann.enter(room, addresses.here)
  const home = (await ann.instance()) === 'a' ? 'a' : 'b'
  const other = home === 'a' ? 'b' : 'a'
  await bob.enter(room, addresses[other])
  const said = await talk([ann, bob], 'before', 2)
  await expect(ann.row('Bob before 2')).toBeVisible()
  return { ann, bob, home, other, said, slots } as const
}

/** Who comes after all that reads the same. */
async function agreeWithLatecomers({ room, person }: Room, people: readonly Person[], said: readonly string[]) {
  const [cid, dan] = [await person('Cid'), await person('Dan')]
  await cid.enter(room, addresses.a)
  await dan.enter(room, addresses.b)
  await agree([...people, cid, dan], said)
}

test.beforeEach(() => {
  test.slow()
  test.skip(!areOurs, 'the processes behind the addresses are not ours to end')
})

test('a network that is cut without a word, and comes back', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const said = await talk([ann, bob], 'before', 2)
  await expect(ann.row('Bob before 2')).toBeVisible()

  wire.pull()
  said.push(...(await talk([ann, bob], 'meanwhile')))
  await expect(ann.row('Ann meanwhile 5')).toHaveAttribute('data-state', 'pending')
  await expect(bob.row('Bob meanwhile 5')).toHaveAttribute('data-state', 'sent')
  await expect(ann.row('Bob meanwhile 1')).toHaveCount(0)
  await ann.page.evaluate(() => window.dispatchEvent(new Event('online')))
  await expect(ann.row('Bob meanwhile 5')).toHaveAttribute('data-state', 'sent', { timeout: 20_000 })
  said.push(...(await talk([ann, bob], 'after', 2)))
  await agreeWithLatecomers({ person, room }, [ann, bob], said)
})

for (const [fate, signal] of [
  ['stopped', 'SIGTERM'],
  ['killed', 'SIGKILL'],
] as const) {
  test(`an instance that is ${fate}: its people go on at the other`, async ({ person, room }) => {
    const { ann, bob, home, other, said, slots } = await meet({ person, room })
    const back = await end(home, signal)
    said.push(...(await talk([ann, bob], 'meanwhile', 6)))
    await expect.poll(() => ann.instance(), { timeout: 20_000 }).toBe(other)
    expect(slots).toHaveLength(signal === 'SIGTERM' ? 1 : 0)
    for (const { drainMs, closedAt, openedAt } of slots) {
      expect(closedAt).toBeGreaterThan(0)
      // what the test hears of them comes a little late, now more and now less
      expect(openedAt - closedAt).toBeGreaterThan(drainMs - 100)
      expect(openedAt - closedAt).toBeLessThan(drainMs + 2000)
    }
    said.push(...(await talk([ann, bob], 'after', 2)))
    await back()
    await agreeWithLatecomers({ person, room }, [ann, bob], said)
  })
}

test('a Redis that is killed, and comes back with nothing', async ({ person, room }) => {
  const { ann, bob, said } = await meet({ person, room })
  const back = await end('redis', 'SIGKILL')
  said.push(...(await talk([ann, bob], 'meanwhile')))
  await back()
  said.push(...(await talk([ann, bob], 'after', 2)))
  await agreeWithLatecomers({ person, room }, [ann, bob], said)
})

test('a page that is loaded anew without a network, and then without a connection, with messages unsent', async ({ person, room }) => {
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  const wire = await Wire.tap(ann.page)
  await ann.enter(room, addresses.a)
  await bob.enter(room, addresses.b)
  const said = await talk([ann, bob], 'before', 2)
  await expect(ann.row('Bob before 2')).toBeVisible()

  wire.isCut = true
  await wire.close(1001)
  said.push(...(await talk([ann, bob], 'meanwhile', 2)))
  await ann.page.context().setOffline(true)
  await expect(ann.page.reload()).rejects.toThrow(/ERR_INTERNET_DISCONNECTED/)
  await ann.page.context().setOffline(false)
  await ann.page.goto(`${addresses.a}/#/r/${room}`)
  await expect(ann.row('Ann meanwhile 2')).toHaveAttribute('data-state', 'pending')
  await bob.say('Bob last')
  said.push('Bob last')
  wire.isCut = false
  await expect(ann.row('Ann meanwhile 2')).toHaveAttribute('data-state', 'sent', { timeout: 30_000 })
  await agreeWithLatecomers({ person, room }, [ann, bob], said)
})
