import { useMemo, useState } from 'react'
import { Button } from '@/ui/button'
import { cn } from '@/ui/cn'
import { isVisible } from '@/ui/visible'
import { blocksOf, isEmojiOnly, UNSEEN, type Piece } from './markup'

/** What is longer is shown in part until the person wants all of it. */
const MANY_CHARACTERS = 1800
const MANY_LINES = 24

function isLong(text: string): boolean {
  return text.length > MANY_CHARACTERS || text.split('\n', MANY_LINES + 1).length > MANY_LINES
}

/** The text of a message. Whatever it holds, it is text: nothing in it becomes markup. */
export function Body({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false)
  const isCut = isLong(text) && !isWhole
  if (!isVisible(text)) return <p className="text-sm text-muted-foreground italic">{UNSEEN}</p>
  return (
    <>
      <div
        // what has the focus must be seen
        onFocus={({ target }) => target.matches(':focus-visible') && setWhole(true)}
        className={cn('overflow-clip text-base leading-normal sm:text-[0.9375rem]', isCut && 'max-h-72 mask-b-from-75%')}
      >
        <Blocks text={text} />
      </div>
      {isLong(text) && (
        <Button variant="link" size="text" onClick={() => setWhole(!isWhole)}>
          {isWhole ? 'Show less' : 'Show more'}
        </Button>
      )}
    </>
  )
}

function Blocks({ text }: { text: string }) {
  const blocks = useMemo(() => blocksOf(text), [text])
  if (isEmojiOnly(text)) return <p className="text-3xl leading-tight">{text}</p>
  return blocks.map((block) =>
    block.kind === 'code' ? (
      <pre
        key={block.at}
        dir="ltr"
        className="my-1 rounded-md border border-border bg-code px-3 py-2 font-mono text-[0.8125rem] leading-relaxed wrap-anywhere whitespace-pre-wrap text-foreground"
      >
        {block.text}
      </pre>
    ) : (
      <p key={block.at} dir="auto" className="wrap-anywhere whitespace-pre-wrap">
        {block.pieces.map(pieceView)}
      </p>
    ),
  )
}

function pieceView({ at, text, href, isCode }: Piece) {
  if (isCode) {
    return (
      <code key={at} dir="ltr" className="rounded-sm bg-code px-1 py-0.5 font-mono text-[0.8125rem] text-foreground">
        {text}
      </code>
    )
  }
  if (href === undefined) return text
  return (
    <a
      key={at}
      href={href}
      dir="ltr"
      target="_blank"
      rel="noopener noreferrer"
      className="text-primary underline decoration-primary/40 underline-offset-2 hover:decoration-primary"
    >
      {text}
    </a>
  )
}
