import type { Hops } from 'hubbub-client'
import { Button } from '@/ui/button'
import { fullTime } from '@/ui/clock'
import { Dialog } from '@/ui/dialog'
import { CloseIcon } from '@/ui/icons'
import { PLACES, stopsOf, type Place, type Stop } from './stops'

const WORDS: Record<Stop['name'], string> = {
  sent: 'Sent from this browser',
  accepted: 'Received by server',
  logged: 'Saved',
  confirmed: 'Confirmed',
  shown: 'Delivered to the room',
}

type JourneyProps = { message: { body: string; at: number; seq?: number; hops?: Hops }; onClose: () => void }

/** How one’s own message got where it is. */
export function Journey({ message: { body, at, seq, hops }, onClose }: JourneyProps) {
  const stops = stopsOf(hops ?? {})
  const instance = hops?.instance ?? ''
  return (
    <Dialog label="Delivery details" onClose={onClose} className="w-[min(27rem,calc(100vw-2rem))]">
      <div className="flex items-center justify-between gap-4 pt-4 pr-3 pl-6">
        <h2 className="font-display text-lg font-semibold tracking-tight">Delivery details</h2>
        <Button variant="ghost" size="icon-sm" aria-label="Close" onClick={onClose}>
          <CloseIcon className="size-4" />
        </Button>
      </div>
      <p className="truncate px-6 text-sm text-muted-foreground" dir="auto">
        {body}
      </p>
      {stops.length > 1 ? (
        <>
          <Drawing stops={stops} instance={instance} />
          <Stops stops={stops} instance={instance} />
        </>
      ) : (
        <p className="px-6 pt-4 text-sm">Timing is available only in the tab that sent the message.</p>
      )}
      <dl className="mt-4 grid grid-cols-[auto_1fr] gap-x-6 gap-y-1 border-t border-border px-6 py-4 text-[0.8125rem]">
        <dt className="text-muted-foreground">Message no.</dt>
        <dd className="text-right font-mono tabular-nums">{seq ?? 'none yet'}</dd>
        <dt className="text-muted-foreground">Received</dt>
        <dd className="text-right tabular-nums">{fullTime(at)}</dd>
      </dl>
    </Dialog>
  )
}

function ms(after: number): string {
  return `${Math.round(after)} ms`
}

function Stops({ stops, instance }: { stops: Stop[]; instance: string }) {
  return (
    <ol className="space-y-1 px-6 text-[0.8125rem]">
      {stops.map(({ name, after }) => (
        <li key={name} className="flex justify-between gap-4">
          <span>
            {WORDS[name]}
            {name === 'accepted' && <strong className="font-semibold"> {instance}</strong>}
          </span>
          <span className="text-muted-foreground tabular-nums">{name === 'sent' ? 'start' : `+${ms(after)}`}</span>
        </li>
      ))}
    </ol>
  )
}

const LANE_X: Record<Place, number> = { browser: 57, instance: 170, log: 283 }
const TOP = 22
const STEP = 34

/** Time goes down, places stand side by side. Each line is a way between two of them. */
function Drawing({ stops, instance }: { stops: Stop[]; instance: string }) {
  const y = (name: Stop['name']) => TOP + stops.findIndex((stop) => stop.name === name) * STEP
  const bottom = TOP + (stops.length - 1) * STEP
  const point = ({ name, place }: Stop) => `${LANE_X[place]} ${y(name)}`
  const find = (name: Stop['name']) => stops.find((stop) => stop.name === name)
  const ways = [
    ['sent', 'accepted'],
    ['accepted', 'logged'],
    ['logged', 'confirmed'],
    ['logged', 'shown'],
  ] as const
  return (
    <div aria-hidden="true" className="mt-4 px-4">
      <p className="grid grid-cols-3 text-center text-xs font-semibold text-muted-foreground">
        {PLACES.map((place) => (
          <span key={place} className="truncate px-1">
            {{ browser: 'this browser', instance: `server ${instance}`, log: 'the log' }[place]}
          </span>
        ))}
      </p>
      <svg viewBox={`0 0 340 ${bottom + 20}`} className="w-full">
        {PLACES.map((place) => (
          <path key={place} d={`M${LANE_X[place]} 6V${bottom + 12}`} strokeDasharray="1 5" strokeLinecap="round" className="stroke-input" />
        ))}
        {ways.map(([from, to]) => {
          const [start, end] = [find(from), find(to)]
          if (!start || !end) return null
          return (
            <path
              key={to}
              d={`M${point(start)}L${point(end)}`}
              strokeWidth="2"
              strokeLinecap="round"
              className={to === 'shown' ? 'stroke-highlight' : 'stroke-primary'}
            />
          )
        })}
        {stops.map((stop) => (
          <circle
            key={stop.name}
            cx={LANE_X[stop.place]}
            cy={y(stop.name)}
            r="5"
            strokeWidth="2.5"
            className={stop.name === 'shown' ? 'fill-popover stroke-highlight' : 'fill-popover stroke-primary'}
          />
        ))}
      </svg>
    </div>
  )
}
