import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react'
import { roomFault } from 'hubbub-client'
import { THEME_NAMES, useSingleKeys, useTheme } from '@/features/settings'
import { useSnapshot } from '@/state/chat'
import { useOpenDialog } from '@/state/dialogs'
import { goToRoom, roomNameFrom } from '@/state/route'
import { CountBadge } from '@/ui/badge'
import { cn } from '@/ui/cn'
import { Dialog } from '@/ui/dialog'
import { SearchIcon } from '@/ui/icons'
import { found } from './fit'

type Choice = { key: string; label: string; note?: string | undefined; unread?: number; run: () => void }
/** A command is found by its label and by these words. */
type Command = Choice & { words: string }

/** Finds a room or a command by a few letters of its name. */
export function Palette({ onClose }: { onClose: () => void }) {
  const [query, setQuery] = useState('')
  /** The first choice, until another is picked. It stays picked when rooms with news come before it. */
  const [picked, setPicked] = useState<string>()
  const choices = useChoices(query.trim())
  const index = Math.max(0, choices.findIndex(({ key }) => key === picked))
  const id = useId()

  const run = (choice: Choice | undefined) => {
    if (!choice) return
    onClose()
    choice.run()
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (by !== undefined) {
      event.preventDefault()
      setPicked(choices.at((index + by) % choices.length)?.key)
    } else if (event.key === 'Enter' && !event.nativeEvent.isComposing) {
      event.preventDefault()
      run(choices[index])
    }
  }

  return (
    <Dialog label="Search" onClose={onClose} shape="top" className="w-[min(34rem,calc(100vw-2rem))]">
      <div className="flex items-center gap-3 border-b border-border px-4">
        <SearchIcon className="size-5 shrink-0 text-muted-foreground" />
        <input
          role="combobox"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={choices.length > 0 ? `${id}-${index}` : undefined}
          aria-label="Room or command"
          placeholder="Jump to a room or run a command"
          autoCapitalize="none"
          autoComplete="off"
          autoFocus
          spellCheck={false}
          value={query}
          onKeyDown={onKeyDown}
          onChange={(event) => {
            setQuery(event.target.value)
            setPicked(undefined)
          }}
          className="h-14 min-w-0 flex-1 bg-transparent text-base placeholder:text-muted-foreground focus-visible:outline-none"
        />
        <kbd aria-hidden="true" className="rounded-md border border-border px-1.5 py-0.5 font-sans text-xs text-muted-foreground max-sm:hidden">
          Esc
        </kbd>
      </div>
      <div id={id} role="listbox" aria-label="Rooms and commands" className="scroll-thin max-h-[50vh] overflow-y-auto p-2">
        {choices.map((choice, n) => (
          <Option key={choice.key} id={`${id}-${n}`} choice={choice} isPicked={n === index} onPick={() => run(choice)} />
        ))}
      </div>
      {choices.length === 0 && <p className="px-5 pb-5 text-sm text-muted-foreground">{roomFault(roomNameFrom(query))}</p>}
    </Dialog>
  )
}

type OptionProps = { id: string; choice: Choice; isPicked: boolean; onPick: () => void }

function Option({ id, choice: { label, note, unread = 0 }, isPicked, onPick }: OptionProps) {
  const option = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (isPicked) option.current?.scrollIntoView({ block: 'nearest' })
  }, [isPicked])
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus -- the keys go to the combobox
    <div
      id={id}
      role="option"
      aria-selected={isPicked}
      ref={option}
      onClick={onPick}
      className={cn(
        'flex h-11 cursor-pointer items-center gap-3 rounded-md px-3 text-[0.9375rem]',
        isPicked ? 'bg-primary/15 forced-colors:outline-2' : 'hover:bg-muted',
      )}
    >
      <span className="min-w-0 flex-1 truncate">{label}</span>
      {note && <span className="shrink-0 text-[0.8125rem] text-muted-foreground">{note}</span>}
      {unread > 0 && <CountBadge count={unread} what="unread" />}
    </div>
  )
}

function useChoices(query: string): Choice[] {
  const rooms = useSnapshot((snapshot) => snapshot.rooms)
  const active = useSnapshot((snapshot) => snapshot.active?.name)
  const open = useOpenDialog()
  const [theme, turnTheme] = useTheme()
  const [hasSingleKeys] = useSingleKeys()
  const room = roomNameFrom(query)
  const commands: Command[] = [
    { key: 'name', label: 'Change your name', words: 'rename profile', run: () => open('name') },
    { key: 'theme', label: `Theme: ${THEME_NAMES[theme]}`, words: 'change dark light appearance', run: turnTheme },
    { key: 'help', label: 'Keyboard shortcuts', words: 'show help keys', note: hasSingleKeys ? '?' : undefined, run: () => open('help') },
  ]
  if (active !== undefined) commands.push({ key: 'copy', label: 'Copy link', words: 'share address url room', run: () => open('address') })
  const meant = found(query, rooms, commands)
  const goTo = meant.rooms.map(
    ({ name, unread }): Choice => ({
      key: `room ${name}`,
      label: `#${name}`,
      note: name === active ? 'you are here' : undefined,
      unread,
      run: () => goToRoom(name),
    }),
  )
  const isNew = roomFault(room) === undefined && !rooms.some(({ name }) => name === room)
  // last: whoever looks for a command does not want a room of that name
  const join = isNew ? [{ key: 'join', label: `Join or create #${room}`, run: () => goToRoom(room) }] : []
  return [...goTo, ...meant.commands, ...join]
}
