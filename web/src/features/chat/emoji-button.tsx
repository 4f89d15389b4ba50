import { Suspense, useEffect, useRef, useState } from 'react'
import { lazyComponent } from '@/state/lazy-component'
import { Button } from '@/ui/button'
import { SmileIcon } from '@/ui/icons'
import { EmojiWait } from './emoji-search'

const EmojiPicker = lazyComponent(async () => (await import('./emoji-picker')).EmojiPicker)

/** Opens the emoji above the field that one writes in, and closes them when one goes elsewhere. They are loaded when they are first wanted. */
export function EmojiButton({ onPick }: { onPick: (emoji: string) => void }) {
  const [isOpen, setOpen] = useState(false)
  const [search, setSearch] = useState('')
  const frame = useRef<HTMLDivElement>(null)
  const button = useRef<HTMLButtonElement>(null)

  useEffect(() => {
    if (!isOpen) return
    const onElsewhere = (event: Event) => {
      if (event.target instanceof Node && !frame.current?.contains(event.target)) setOpen(false)
    }
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return
      event.preventDefault()
      setOpen(false)
      button.current?.focus()
    }
    document.addEventListener('pointerdown', onElsewhere)
    document.addEventListener('focusin', onElsewhere)
    document.addEventListener('keydown', onKey, { capture: true })
    return () => {
      document.removeEventListener('pointerdown', onElsewhere)
      document.removeEventListener('focusin', onElsewhere)
      document.removeEventListener('keydown', onKey, { capture: true })
    }
  }, [isOpen])

  return (
    <div ref={frame}>
      <Button
        ref={button}
        variant="ghost"
        size="icon"
        aria-label="Emoji"
        aria-expanded={isOpen}
        title="Emoji"
        onClick={() => {
          setSearch('')
          setOpen(!isOpen)
        }}
      >
        <SmileIcon />
      </Button>
      {isOpen && (
        <div
          role="dialog"
          aria-label="Emoji"
          className="absolute right-0 bottom-full z-10 mb-2 animate-rise overflow-hidden rounded-xl border border-border bg-popover text-popover-foreground shadow-xl"
        >
          <Suspense fallback={<EmojiWait search={search} onSearch={setSearch} />}>
            <EmojiPicker
              search={search}
              onSearch={setSearch}
              onClose={() => {
                setOpen(false)
                button.current?.focus()
              }}
              onPick={(emoji) => {
                setOpen(false)
                onPick(emoji)
              }}
            />
          </Suspense>
        </div>
      )}
    </div>
  )
}
