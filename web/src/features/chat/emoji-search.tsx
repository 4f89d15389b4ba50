import type { ComponentProps } from 'react'

/** What the field has in which one looks for an emoji, before the emoji are loaded and after. */
export const SEARCH: ComponentProps<'input'> = {
  type: 'search',
  autoFocus: true,
  'aria-label': 'Find an emoji',
  placeholder: 'Find an emoji',
  className:
    'm-2 h-10 rounded-md border border-input/60 bg-card px-3 text-base placeholder:text-muted-foreground focus-visible:border-ring focus-visible:outline-offset-0 focus-visible:outline-ring/40 sm:text-sm',
  // the one field takes the place of the other while one types
  onFocus: ({ target }) => target.setSelectionRange(target.value.length, target.value.length),
}

/** How large the emoji are, before they are loaded and after. */
export const FRAME = 'isolate flex h-80 max-h-[calc(60dvh-3.5rem)] w-[19.25rem] max-w-full flex-col'

type SearchProps = { search: string; onSearch: (search: string) => void }

/** Stands in for the emoji while they are loaded. It takes the keys, which would go to the composer otherwise. */
export function EmojiWait({ search, onSearch }: SearchProps) {
  return (
    <div className={FRAME}>
      <input
        {...SEARCH}
        value={search}
        onChange={({ target }) => onSearch(target.value)}
        onKeyDown={(event) => event.key === 'Enter' && event.preventDefault()}
      />
      <p className="m-auto text-sm text-muted-foreground">Loading…</p>
    </div>
  )
}
