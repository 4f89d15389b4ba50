import { roomNameFrom } from '@/state/route'

/** How well a text fits what was typed: the lower, the better. */
const FIT = { whole: 0, beginning: 1, words: 2, inside: 3, none: 4 } as const

type Fit = (typeof FIT)[keyof typeof FIT]
type Room = { name: string; unread: number }
/** It is found by its label and by these words. */
type Command = { label: string; words: string }

/**
 * The rooms and commands that are meant by what was typed, the best first. Of rooms that fit alike those with news come first.
 *
 * Who remembers a word remembers how it begins. The middle of a word finds a room only where nothing else is found, and never a
 * command, whose words one does not see.
 */
export function found<R extends Room, C extends Command>(typed: string, rooms: readonly R[], commands: readonly C[]) {
  const name = roomNameFrom(typed).toLowerCase()
  const fresh = rooms.toSorted((a, b) => Number(b.unread > 0) - Number(a.unread > 0))
  const fits = fitting(fresh, (room) => fitOf(room.name, name))
  const meant = fitting(commands, ({ label, words }) => fitOf(`${label} ${words}`.toLowerCase(), typed.toLowerCase()))
  const commandsFound = meant.filter(({ fit }) => fit < FIT.inside)
  const most = commandsFound.length > 0 || fits.some(({ fit }) => fit < FIT.inside) ? FIT.words : FIT.inside
  return {
    rooms: fits.filter(({ fit }) => fit <= most).map(({ item }) => item),
    commands: commandsFound.map(({ item }) => item),
  }
}

function fitting<T>(items: readonly T[], fitTo: (item: T) => Fit): { item: T; fit: Fit }[] {
  return items.map((item) => ({ item, fit: fitTo(item) })).toSorted((a, b) => a.fit - b.fit)
}

function fitOf(text: string, typed: string): Fit {
  if (text === typed) return FIT.whole
  if (text.startsWith(typed)) return FIT.beginning
  const words = typed.split(/\s+/)
  if (words.every((word) => beginsWord(text, word))) return FIT.words
  return words.every((word) => text.includes(word)) ? FIT.inside : FIT.none
}

/** Whether a word in this text begins so. */
function beginsWord(text: string, typed: string): boolean {
  for (let at = text.indexOf(typed); at >= 0; at = text.indexOf(typed, at + 1)) {
    if (at === 0 || /[^\p{L}\p{N}]/u.test(text.charAt(at - 1))) return true
  }
  return false
}
