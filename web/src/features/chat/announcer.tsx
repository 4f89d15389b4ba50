import { useEffect, useEffectEvent, useRef, useState } from 'react'
import type { Message, RoomView } from 'hubbub-client'
import { useSnapshot } from '@/state/chat'
import { isVisible, shownName } from '@/ui/visible'
import { UNSEEN } from './markup'

const INTERVAL_MS = 3000
/** Nobody can stop what is read out: of a longer message only the beginning is. */
const LONG = 300

function announcement(news: readonly Message[]): string {
  const [only] = news
  if (news.length > 1 || !only) return `${news.length} new messages`
  const { from, body } = only
  const text = isVisible(body) ? body : UNSEEN
  return `${shownName(from.name)}: ${text.length > LONG ? `${text.slice(0, LONG)}…` : text}`
}

/**
 * Reads new messages of a room out to those who do not see them, a few seconds' worth at a time, and at once which of
 * their own was not sent. Rows come and go as one scrolls, so that none of them may speak for itself.
 */
export function Announcer({ room }: { room: RoomView }) {
  const me = useSnapshot((snapshot) => snapshot.me)
  const [announced, setAnnounced] = useState({ nth: 0, text: '' })
  const announcedSeq = useRef<number>(undefined)
  const isLoaded = room.history === 'loaded'

  const announce = useEffectEvent(() => {
    const after = announcedSeq.current
    if (!isLoaded) return
    announcedSeq.current = room.messages.at(-1)?.seq ?? 0
    if (after === undefined) return
    const news = room.messages.filter((message) => message.seq > after && message.from.id !== me?.id)
    if (news.length > 0) setAnnounced(({ nth }) => ({ nth: nth + 1, text: announcement(news) }))
  })

  useEffect(() => {
    // what is there when the history has come is no news
    announce()
    const timer = setInterval(announce, INTERVAL_MS)
    return () => clearInterval(timer)
  }, [isLoaded])

  useFailures(room, (fault) => setAnnounced(({ nth }) => ({ nth: nth + 1, text: `Not sent: ${fault}` })))

  return (
    <div id="announcer" role="status" aria-live="polite" className="sr-only">
      {/* a new element each time: the same words twice are announced twice */}
      <span key={announced.nth}>{announced.text}</span>
    </div>
  )
}

/** Calls back when a message fails, with the reason. What had failed before is no news. */
function useFailures({ outgoing }: RoomView, onFailure: (fault: string) => void) {
  const known = useRef<ReadonlySet<string>>(undefined)
  const onChange = useEffectEvent(() => {
    const failed = outgoing.filter(({ fault }) => fault !== undefined)
    const fresh = failed.findLast(({ id }) => known.current && !known.current.has(id))
    known.current = new Set(failed.map(({ id }) => id))
    if (fresh?.fault !== undefined) onFailure(fresh.fault)
  })
  useEffect(() => onChange(), [outgoing])
}
