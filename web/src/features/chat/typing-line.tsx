import type { ReactNode } from 'react'
import { shownName } from '@/ui/visible'

const LIST = new Intl.ListFormat('en-GB', { type: 'conjunction' })
const NAMED = 3

function sentence(typists: readonly string[]): ReactNode {
  if (typists.length > NAMED) return 'Several people are typing'
  const parts = LIST.formatToParts(typists.map(shownName))
  return (
    <>
      {parts.map(({ type, value }, n) =>
        // oxlint-disable-next-line react/no-array-index-key -- two people may have the same name
        type === 'element' ? <bdi key={n}>{value}</bdi> : value,
      )}
      {typists.length === 1 ? ' is' : ' are'} typing
    </>
  )
}

/** Who is writing. Its line is always there, so that nothing moves. */
export function TypingLine({ typists }: { typists: readonly string[] }) {
  return (
    <div className="mx-auto flex h-6 w-full max-w-3xl items-center px-4 text-[0.8125rem] text-muted-foreground sm:px-6" data-testid="typing">
      {typists.length > 0 && (
        <p className="flex min-w-0 animate-arrive items-center gap-2">
          <span aria-hidden="true" className="flex gap-0.5">
            <span className="size-1 animate-breathe rounded-full bg-primary [animation-duration:1.2s]" />
            <span className="size-1 animate-breathe rounded-full bg-primary [animation-delay:0.2s] [animation-duration:1.2s]" />
            <span className="size-1 animate-breathe rounded-full bg-primary [animation-delay:0.4s] [animation-duration:1.2s]" />
          </span>
          <span className="truncate">{sentence(typists)}</span>
        </p>
      )}
    </div>
  )
}
