import { useVirtualizer } from '@tanstack/react-virtual'
import { useCallback, useEffect, useEffectEvent, useLayoutEffect, useRef, useState, type RefObject } from 'react'
import type { RoomView } from 'hubbub-client'
import { useChat } from '@/state/chat'
import type { Row } from './rows'

/** How near to the end counts as being there. */
const END_PX = 48
/** How near to the beginning older messages are loaded. */
const BEGINNING_PX = 600
/** Rows that are kept ready on either side of those in view. */
const OVERSCAN = 6
/** The room that the head of the list takes, whatever it says, so that the rows below stay where they are. */
export const HEAD_PX = 72
const FOOT_PX = 12
/** After so many frames at one place the list is where it was to go: rows have got their heights. */
const STILL_FRAMES = 4
/** After so many it goes no further, for there is always something new. */
const MOST_FRAMES = 40
/** What stays above a row that the list is scrolled to. */
const HEADROOM_PX = 40

const LINE_PX = 23
const CHARACTERS_A_LINE = 80
const HEADING_PX = 42
const RULE_PX = 44

/** The list asks for the heights of all rows whenever one is added. */
const guesses = new WeakMap<Row, number>()

/** How high a row probably is, until it is measured. */
function heightOf(row: Row): number {
  const known = guesses.get(row) ?? guess(row)
  guesses.set(row, known)
  return known
}

function guess({ body, isFirst, isOwn, opensDay, isDivided }: Row): number {
  const lines = body.split('\n').length + Math.floor(body.length / CHARACTERS_A_LINE)
  const rules = Number(opensDay) + Number(isDivided)
  return lines * LINE_PX + (isFirst ? HEADING_PX : 2) + (isOwn ? 8 : 0) + rules * RULE_PX
}

/** The part of the rows that is in view: at the end while the person is there, otherwise where they read. */
export function useScroll(rows: readonly Row[], room: RoomView) {
  const scroller = useRef<HTMLDivElement>(null)
  /** Unknown until the list has been put where it begins. */
  const [isAtEnd, setAtEnd] = useState<boolean>()
  const virtual = useVirtualizer<HTMLDivElement, HTMLDivElement>({
    count: rows.length,
    getScrollElement: () => scroller.current,
    getItemKey: useCallback((index: number) => rows[index]?.key ?? index, [rows]),
    estimateSize: (index) => heightOf(rows[index] as Row),
    paddingStart: HEAD_PX,
    paddingEnd: FOOT_PX,
    scrollPaddingStart: HEADROOM_PX,
    overscan: OVERSCAN,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: END_PX,
  })

  const toEnd = useCallback(() => {
    setAtEnd(true)
    virtual.scrollToEnd()
  }, [virtual])

  const seen = useRef({ top: 0, width: 0, height: 0 })
  const look = useCallback(() => {
    const element = scroller.current
    if (!element) return
    const { scrollTop: top, clientWidth: width, clientHeight: height } = element
    const { current: before } = seen
    seen.current = { top, width, height }
    const isNear = element.scrollHeight - top - height <= END_PX
    const isSameSize = width === before.width && height === before.height
    // only whoever scrolls up leaves the end: rows that get another height, or a window, move it away by themselves
    if (isAtEnd && !isNear && !(isSameSize && top < before.top)) toEnd()
    else setAtEnd(isNear)
  }, [isAtEnd, toEnd])

  useStart(scroller, rows, room, virtual, look)
  useShowOwn(room, toEnd)
  useKeepEnd(scroller, isAtEnd, isAtEnd ? toEnd : look)
  useSeeEnd(virtual.getTotalSize(), isAtEnd, look)
  const loadOlder = useLoadOlder(scroller, room, rows, isAtEnd !== undefined)

  const onScroll = useCallback(() => {
    if (isAtEnd !== undefined) look()
    loadOlder()
  }, [isAtEnd, look, loadOlder])

  return { scroller, virtual, isAtEnd, toEnd, onScroll }
}

type Virtual = ReturnType<typeof useVirtualizer<HTMLDivElement, HTMLDivElement>>

/**
 * Begins where the unread begins, or at the end, and then looks where that is. A room without a word is at its end.
 *
 * Rows get their heights once they are in the page, so that it takes some frames to get there. What comes above or below meanwhile
 * changes the number of the row, and with it where to go.
 */
function useStart(scroller: RefObject<HTMLDivElement | null>, rows: readonly Row[], { history }: RoomView, virtual: Virtual, look: () => void) {
  const isDone = useRef(false)
  const isReady = history === 'loaded' || (history === 'failed' && rows.length > 0)
  useLayoutEffect(() => {
    if (isDone.current) return
    const divided = rows.findIndex((row) => row.isDivided)
    if (divided >= 0) virtual.scrollToIndex(divided, { align: 'start' })
    else if (rows.length > 0) virtual.scrollToEnd()
  }, [isReady, rows, virtual])
  const onThere = useEffectEvent(() => {
    isDone.current = true
    look()
  })
  useEffect(() => {
    if (isReady && !isDone.current) return onceStill(() => scroller.current?.scrollTop, onThere)
  }, [isReady, scroller])
}

/** Calls back when this value was the same for some frames, or after many. Returns what ends the wait. */
function onceStill(value: () => number | undefined, then: () => void): () => void {
  let [frames, still, last] = [0, 0, value()]
  const step = () => {
    const now = value()
    still = now === last ? still + 1 : 0
    last = now
    frames += 1
    if (still === STILL_FRAMES || frames === MOST_FRAMES) then()
    else frame = requestAnimationFrame(step)
  }
  let frame = requestAnimationFrame(step)
  return () => cancelAnimationFrame(frame)
}

/** Whoever sends something wants to see it. */
function useShowOwn({ outgoing }: RoomView, toEnd: () => void) {
  const known = useRef<ReadonlySet<string>>(new Set())
  useEffect(() => {
    const ids = new Set(outgoing.filter(({ fault }) => fault === undefined).map(({ id }) => id))
    const last = outgoing.at(-1)?.id
    if (last !== undefined && ids.has(last) && !known.current.has(last)) toEnd()
    known.current = ids
  }, [outgoing, toEnd])
}

/** Stays at the end, or looks whether that is in view now, when the window or what stands below the list gets another height. */
function useKeepEnd(scroller: RefObject<HTMLDivElement | null>, isAtEnd: boolean | undefined, onHeight: () => void) {
  useEffect(() => {
    const element = scroller.current
    if (!element || isAtEnd === undefined) return
    let height = element.clientHeight
    const observer = new ResizeObserver(() => {
      if (element.clientHeight !== height) onHeight()
      height = element.clientHeight
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [scroller, isAtEnd, onHeight])
}

/** Rows that turn out lower than thought can bring the end into view, and nothing scrolls then. */
function useSeeEnd(size: number, isAtEnd: boolean | undefined, look: () => void) {
  useEffect(() => {
    if (isAtEnd === false) look()
  }, [size, isAtEnd, look])
}

/** Loads older messages before the person gets to where they begin, once the list is where it begins. */
function useLoadOlder(scroller: RefObject<HTMLDivElement | null>, room: RoomView, rows: readonly Row[], isThere: boolean) {
  const { client } = useChat()
  const { name, hasOlder, history } = room
  const isDue = isThere && hasOlder && history === 'loaded'
  const load = useCallback(() => {
    if (isDue && scroller.current && scroller.current.scrollTop < BEGINNING_PX) void client.loadOlder(name)
  }, [client, name, isDue, scroller])
  useEffect(load, [load, rows])
  return load
}
