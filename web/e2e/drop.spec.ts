import { writeFile } from 'node:fs/promises'
import { expect, test, type Person } from './person'

/** Drops a file on the page as the desktop does. */
async function drop({ page }: Person, file: string, at: { x: number; y: number }) {
  const browser = await page.context().newCDPSession(page)
  const data = { items: [], files: [file], dragOperationsMask: 1 }
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) await browser.send('Input.dispatchDragEvent', { type, ...at, data })
}

test('a file that is dropped does not take the place of the page, wherever it falls', async ({ person, room }) => {
  const ann = await person('Ann')
  const { page } = ann
  const file = test.info().outputPath('picture.svg')
  await writeFile(file, '<svg xmlns="http://www.w3.org/2000/svg"/>')
  await page.goto(`/#/r/${room}`)
  await expect(page.getByLabel('Your name')).toBeVisible()
  const address = page.url()
  await drop(ann, file, { x: 300, y: 300 })
  await ann.enter(room)
  await ann.composer.fill('half a thought')
  const box = await ann.composer.boundingBox()
  await drop(ann, file, { x: 600, y: 300 })
  await drop(ann, file, { x: (box?.x ?? 0) + 20, y: (box?.y ?? 0) + 10 })
  await ann.say('still here')
  await expect(ann.row('still here')).toHaveAttribute('data-state', 'sent')
  expect(page.url()).toBe(address)
  expect(page.context().pages()).toHaveLength(1)
})
