import { addresses, expect, test } from './person'

/** The processes behind the addresses, by the name of the instance: `{"a": 123, "b": 124}`. */
const pids: Record<string, number> = JSON.parse(process.env.HUBBUB_PIDS ?? '{}')

test.use({ mayComplain: true })

test('a page whose instance is stopped goes on at the other, with all that was said meanwhile', async ({ person, room }) => {
  test.slow()
  test.skip(Object.keys(pids).length < 2, 'there are no processes to stop')
  const [ann, bob] = [await person('Ann'), await person('Bob')]
  await ann.enter(room, addresses.here)
  const stopped = await ann.instance()
  const survivor = stopped === 'a' ? 'b' : 'a'
  await bob.enter(room, addresses[survivor])
  await ann.say('before')
  await expect(bob.row('before')).toBeVisible()

  process.kill(pids[stopped] ?? 0, 'SIGTERM')
  const said = ['before']
  for (let n = 1; n <= 20; n += 1) {
    await bob.say(`meanwhile ${n}`)
    said.push(`meanwhile ${n}`)
    await bob.page.waitForTimeout(100)
  }
  await ann.isLive()
  expect(await ann.instance()).toBe(survivor)
  await ann.say('after')
  said.push('after')
  await ann.sees(said)
  await bob.sees(said)
  const seqs = await ann.seqs()
  expect(seqs).toEqual(seqs.toSorted((one, other) => one - other))
  expect(await bob.seqs()).toEqual(seqs)
})
