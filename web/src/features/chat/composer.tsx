import { useCallback, useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react'
import { bodyFault, type Hold } from 'hubbub-client'
import { useChat, useSnapshot } from '@/state/chat'
import { Button } from '@/ui/button'
import { useTicks } from '@/ui/clock'
import { cn } from '@/ui/cn'
import { ArrowUpIcon } from '@/ui/icons'
import { hasFinePointer } from '@/ui/media'
import { EmojiButton } from './emoji-button'
import { COMPOSER_ID } from './focus'

/** From here on the person is told how much room is left. */
const NEARLY_FULL_BYTES = 500
const ENCODER = new TextEncoder()

/** Where one writes. The text of each room is kept until it is sent. */
export function Composer({ room }: { room: string }) {
  const { client } = useChat()
  const limits = useSnapshot((snapshot) => snapshot.limits)
  const [text, setText] = useDraft(room)
  const isOutboxFull = useSnapshot((snapshot) => snapshot.isOutboxFull)
  const [isHeldBack, setHeldBack] = useState(false)
  const input = useField(text)
  const body = text.trim()
  const canSend = bodyFault(body, limits) === undefined
  const bytes = ENCODER.encode(body).length
  const bytesLeft = limits.body_bytes - bytes
  // what a person counts, as many bytes each as those of this text have
  const charactersLeft = Math.ceil((Math.abs(bytesLeft) / Math.max(1, bytes)) * [...body].length)

  useEffect(() => {
    if (hasFinePointer()) input.current?.focus()
  }, [input])

  const send = () => {
    input.current?.focus()
    if (!canSend) return
    setHeldBack(client.isOutboxFull)
    if (client.isOutboxFull) return
    client.send(room, body)
    setText('')
  }

  const write = (next: string) => {
    setText(next)
    if (next !== '') client.typing(room)
  }

  const insert = (emoji: string) => {
    const element = input.current
    if (!element) return
    element.focus()
    element.setRangeText(emoji, element.selectionStart, element.selectionEnd, 'end')
    write(element.value)
  }

  const onKeyDown = (event: KeyboardEvent) => {
    const isComposing = event.nativeEvent.isComposing || event.keyCode === 229
    if (event.key !== 'Enter' || event.shiftKey || isComposing) return
    event.preventDefault()
    send()
  }

  return (
    <form
      className="mx-auto w-full max-w-3xl px-3 pb-[max(0.75rem,env(safe-area-inset-bottom))] sm:px-6 sm:pb-[max(1.25rem,env(safe-area-inset-bottom))]"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <div
        className={cn(
          'relative flex items-end gap-1 rounded-xl border border-input/50 bg-card p-1.5 shadow-sm transition-colors',
          'focus-within:border-ring focus-within:outline-2 focus-within:outline-ring/25',
        )}
      >
        <textarea
          ref={input}
          id={COMPOSER_ID}
          rows={1}
          dir="auto"
          aria-label={`Message in ${room}`}
          placeholder={`Message #${room}`}
          enterKeyHint="send"
          value={text}
          onKeyDown={onKeyDown}
          onChange={(event) => write(event.target.value)}
          className="scroll-thin max-h-[40dvh] min-h-11 min-w-0 flex-1 resize-none bg-transparent px-3 py-2.5 text-base leading-normal placeholder:text-muted-foreground focus-visible:outline-none sm:min-h-10 sm:py-2 sm:text-[0.9375rem]"
        />
        <EmojiButton onPick={insert} />
        <Button type="submit" size="icon" aria-label="Send" title="Send" disabled={!canSend}>
          <ArrowUpIcon />
        </Button>
      </div>
      <Notes bytesLeft={bytesLeft} characters={charactersLeft} isHeldBack={isHeldBack && isOutboxFull} />
    </form>
  )
}

/** The field with this text, made as high as the text is. */
function useField(text: string) {
  const field = useRef<HTMLTextAreaElement>(null)
  useLayoutEffect(() => {
    const element = field.current
    const frame = element?.parentElement
    if (!element || !frame) return
    // while the field is measured, what is around it stays as it is: the list would be scrolled otherwise
    frame.style.minHeight = `${frame.offsetHeight}px`
    element.style.height = 'auto'
    element.style.height = `${element.scrollHeight}px`
    frame.style.minHeight = ''
  }, [text])
  return field
}

type NotesProps = {
  bytesLeft: number
  /** About how many characters that is, left or too many. */
  characters: number
  isHeldBack: boolean
}

/** What keeps the text from going out at once. Numbers that change all the time are not read out. */
function Notes({ bytesLeft, characters, isHeldBack }: NotesProps) {
  const hold = useSnapshot((snapshot) => snapshot.hold)
  return (
    <div role="status" className="px-3 text-[0.8125rem] text-muted-foreground tabular-nums empty:hidden [&>p]:pt-1.5">
      {hold && <HoldNote hold={hold} />}
      {isHeldBack && <p className="text-destructive">Too many messages are waiting to be sent. Try again in a moment.</p>}
      {bytesLeft < NEARLY_FULL_BYTES && (
        <p className={cn(bytesLeft < 0 && 'text-destructive')}>
          <span aria-hidden="true">About {characters} characters {bytesLeft < 0 ? 'too long' : 'left'}</span>
          <span className="sr-only">{bytesLeft < 0 ? 'This message is too long.' : 'Almost at the limit.'}</span>
        </p>
      )}
    </div>
  )
}

function HoldNote({ hold: { reason, until } }: { hold: Hold }) {
  const now = useTicks(250)
  const seconds = Math.max(1, Math.ceil((until - now) / 1000))
  return (
    <p>
      {reason === 'rate_limited' ? 'You’re sending very fast.' : 'The server is busy.'} The rest will go out{' '}
      <span aria-hidden="true">in {seconds} s.</span>
      <span className="sr-only">soon.</span>
    </p>
  )
}

function isString(value: unknown): value is string {
  return typeof value === 'string'
}

/** The text that waits in a room to be sent, kept over reloads. */
function useDraft(room: string): [string, (text: string) => void] {
  const { storage } = useChat()
  const key = `draft.${room}`
  const [text, setText] = useState(() => storage.read(key, isString) ?? '')
  const keep = useCallback(
    (next: string) => {
      setText(next)
      if (next === '') storage.remove(key)
      else storage.write(key, next)
    },
    [storage, key],
  )
  return [text, keep]
}
