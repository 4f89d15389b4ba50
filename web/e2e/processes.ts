import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addresses, expect } from './person'

/** Where `run.mjs` keeps the pids of the processes that it starts, and starts again when they end. */
const DIRECTORY = process.env.HUBBUB_PIDS

export type Process = 'a' | 'b' | 'redis' | 'haproxy'

/** Whether the processes behind the addresses can be ended from here. */
export const areOurs = DIRECTORY !== undefined

async function pidOf(name: Process): Promise<number> {
  return Number(await readFile(join(DIRECTORY ?? '', name), 'utf8'))
}

/** Sends a signal to a process. Returns what waits until it is back, and with it the whole system. */
export async function end(name: Process, signal: 'SIGTERM' | 'SIGKILL'): Promise<() => Promise<void>> {
  const pid = await pidOf(name)
  process.kill(pid, signal)
  return async () => {
    await expect.poll(() => pidOf(name), { timeout: 20_000 }).not.toBe(pid)
    await expect(isWell).toPass({ timeout: 30_000 })
  }
}

async function isWell() {
  for (const address of Object.values(addresses)) {
    const ready = await fetch(`${address}/health/ready`)
    expect(ready.status).toBe(200)
    const stats = await fetch(`${address}/v1/stats`)
    expect(await stats.json()).toMatchObject({ instances: 2, relay: 'live' })
  }
}
