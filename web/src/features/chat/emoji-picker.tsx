import { EmojiPicker as Picker, type EmojiPickerListComponents } from 'frimousse'
import { cn } from '@/ui/cn'
import { FRAME, SEARCH } from './emoji-search'

/** The names of skin tones are asked for and not shown: there are none to choose from. */
const SKIN_TONES = { light: '', 'medium-light': '', medium: '', 'medium-dark': '', dark: '' }

async function resolveEmoji(locale: string) {
  const { default: groups } = await import('virtual:emoji')
  return {
    locale,
    categories: groups.map(([label], index) => ({ index, label })),
    emojis: groups.flatMap(([, emojis], category) =>
      emojis.map(([emoji, label, version, tags]) => ({ emoji, category, label, version, tags })),
    ),
    skinTones: SKIN_TONES,
  }
}

const COMPONENTS: EmojiPickerListComponents = {
  CategoryHeader: ({ category, ...props }) => (
    <div {...props} className="bg-popover px-3 pt-3 pb-1.5 text-xs font-semibold text-muted-foreground">
      {category.label}
    </div>
  ),
  // rows and columns are counted from 1
  Row: ({ 'aria-rowindex': index = 0, ...props }) => (
    <div {...props} aria-rowindex={index + 1} className="scroll-my-1.5 px-1.5" />
  ),
  Emoji: ({ emoji, 'aria-colindex': index = 0, ...props }) => (
    <button
      {...props}
      role="gridcell"
      aria-colindex={index + 1}
      title={emoji.label}
      className={cn(
        'flex size-9 items-center justify-center rounded-md text-xl',
        emoji.isActive && 'bg-accent forced-colors:outline-2',
      )}
    >
      {emoji.emoji}
    </button>
  ),
}

type EmojiPickerProps = { search: string; onSearch: (search: string) => void; onPick: (emoji: string) => void; onClose?: () => void }

/** All emoji, to be found by name. */
export function EmojiPicker({ search, onSearch, onPick }: EmojiPickerProps) {
  return (
    <Picker.Root
      columns={8}
      resolveEmojiData={resolveEmoji}
      onEmojiSelect={({ emoji }) => onPick(emoji)}
      className={FRAME}
    >
      <Picker.Search {...SEARCH} value={search} onChange={({ target }) => onSearch(target.value)} />
      <Picker.Viewport tabIndex={0} className="scroll-thin relative min-h-0 flex-1 focus-visible:-outline-offset-2">
        <Picker.Loading className="absolute inset-0 flex items-center justify-center text-sm text-muted-foreground">Loading…</Picker.Loading>
        <Picker.Empty className="absolute inset-0 flex items-center justify-center text-sm text-muted-foreground">None with that name.</Picker.Empty>
        <Picker.List className="pb-1.5 select-none" components={COMPONENTS} />
      </Picker.Viewport>
    </Picker.Root>
  )
}
