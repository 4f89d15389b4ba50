import { useEffect, useEffectEvent, useRef, useState } from 'react'
import { useSnapshot } from '@/app/chat'
import type { Message } from '@/lib/protocol'
import type { RoomView } from '@/lib/room'

const INTERVAL_MS = 3000

function announcement(news: readonly Message[]): string {
  const [only] = news
  return news.length === 1 && only ? `${only.from.name}: ${only.body}` : `${news.length} new messages`
}

/** Reads new messages of a room out to those who do not see them, a few seconds' worth at a time. */
export function Announcer({ room }: { room: RoomView }) {
  const me = useSnapshot((snapshot) => snapshot.me)
  const [text, setText] = useState('')
  const saidSeq = useRef<number>(undefined)

  const announce = useEffectEvent(() => {
    if (room.history !== 'loaded') return
    const after = saidSeq.current
    saidSeq.current = room.messages.at(-1)?.seq ?? 0
    if (after === undefined) return
    const news = room.messages.filter((message) => message.seq > after && message.from.id !== me?.id)
    if (news.length > 0) setText(announcement(news))
  })

  useEffect(() => {
    const timer = setInterval(announce, INTERVAL_MS)
    return () => clearInterval(timer)
  }, [])

  return (
    <div id="announcer" role="status" aria-live="polite" className="sr-only">
      {text}
    </div>
  )
}
