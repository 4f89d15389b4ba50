import { defineConfig } from '@playwright/test'

/** What `run.mjs` started: a whole system for each worker, for the tests end processes of it. */
const systems: Record<string, string>[] = JSON.parse(process.env.HUBBUB_SYSTEMS ?? '[]')
Object.assign(process.env, systems[Number(process.env.TEST_PARALLEL_INDEX ?? 0)])

export default defineConfig({
  testDir: '.',
  workers: Math.max(1, systems.length),
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list'], ['json', { outputFile: 'test-results/report.json' }]],
  use: {
    baseURL: process.env.HUBBUB_URL ?? 'http://127.0.0.1:8080',
    locale: 'en-GB',
    // recording takes more time than the tests themselves: `--trace on` does it
    trace: 'off',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
})
