import { readFileSync } from 'node:fs'
import type { Plugin } from 'vite'

const MODULE = 'virtual:emoji'
const RESOLVED = `\0${MODULE}`

type Group = { name: string; emojis: { emoji: string; name: string; emoji_version: string }[] }

function read<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`node_modules/${file}`, import.meta.url), 'utf8'))
}

/** All emoji, by group, each as `[emoji, name, version, words]`: a part of the app, so that nothing is asked of strangers. */
function groups() {
  const words = read<Record<string, string[]>>('emojilib/dist/emoji-en-US.json')
  return read<Group[]>('unicode-emoji-json/data-by-group.json').map(({ name, emojis }) => [
    name,
    emojis.map((one) => [one.emoji, one.name, Number(one.emoji_version), words[one.emoji] ?? []]),
  ])
}

/** Provides the module `virtual:emoji`. */
export function emoji(): Plugin {
  return {
    name: 'emoji',
    resolveId: (id) => (id === MODULE ? RESOLVED : null),
    load: (id) => (id === RESOLVED ? `export default JSON.parse(${JSON.stringify(JSON.stringify(groups()))})` : null),
  }
}
