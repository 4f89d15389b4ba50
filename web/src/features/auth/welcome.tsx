import { NameForm } from '@/features/settings'
import { useChat } from '@/state/chat'
import { Button } from '@/ui/button'
import { Logo } from '@/ui/logo'

/** The first thing a newcomer sees. */
export function Welcome({ room }: { room: string }) {
  const { client } = useChat()
  return (
    <main className="relative grid min-h-dvh place-items-center overflow-hidden bg-sidebar px-5 py-10">
      <Voices />
      <div className="relative w-full max-w-sm">
        <div className="flex items-center gap-3">
          <Logo className="size-10" />
          <span className="font-display text-3xl font-bold tracking-tight">hubbub</span>
        </div>
        <h1 className="mt-8 font-display text-xl font-semibold tracking-tight">
          Join <span className="text-primary wrap-anywhere">#{room}</span>
        </h1>
        <p className="mt-1 mb-6 text-[0.9375rem] text-muted-foreground">
          This is how others will see you. You can change it later.
        </p>
        <NameForm name="" onName={(name) => client.rename(name)}>
          <Button type="submit" className="w-full">
            Join
          </Button>
        </NameForm>
      </div>
    </main>
  )
}

const HALF = [9, 17, 13, 26, 19, 35, 15, 29, 22, 32, 14, 38, 24, 18, 30, 11, 21, 15, 25, 12]
const HEIGHTS = [...HALF, ...HALF.toReversed()]
const NEWCOMER = 23

function bar(height: number, index: number): string {
  return `M${index * 10 + 5} 60V${60 - height}`
}

/** Many voices, and a new one among them. */
function Voices() {
  return (
    <svg
      aria-hidden="true"
      viewBox="0 0 400 60"
      preserveAspectRatio="xMidYMax slice"
      strokeWidth="4"
      strokeLinecap="round"
      className="absolute inset-x-0 bottom-0 h-[26vh] w-full stroke-sidebar-accent"
    >
      <path d={HEIGHTS.map(bar).join('')} />
      <path d={bar(HEIGHTS[NEWCOMER] ?? 0, NEWCOMER)} className="stroke-highlight" />
    </svg>
  )
}
