import { useId } from 'react'
import { Button } from '@/ui/button'
import { Dialog } from '@/ui/dialog'
import { CloseIcon } from '@/ui/icons'
import { SHORTCUTS, useSingleKeys } from './keyboard'

/** The keyboard shortcuts. */
export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog label="Keyboard shortcuts" onClose={onClose} className="w-[min(30rem,calc(100vw-2rem))]">
      <div className="flex items-center justify-between gap-4 pt-4 pr-3 pb-1 pl-6">
        <h2 className="font-display text-lg font-semibold tracking-tight">Keyboard shortcuts</h2>
        <Button variant="ghost" size="icon-sm" aria-label="Close" onClick={onClose}>
          <CloseIcon className="size-4" />
        </Button>
      </div>
      <dl className="px-6">
        {SHORTCUTS.map(([keys, what]) => (
          <div key={keys} className="flex flex-wrap items-baseline justify-between gap-x-6 gap-y-1 border-b border-border py-2.5 last:border-0">
            <dt className="order-2 ml-auto flex flex-wrap gap-1.5">
              {keys.split(' / ').map((combination) => (
                <Keys key={combination} combination={combination} />
              ))}
            </dt>
            <dd className="text-sm">{what}</dd>
          </div>
        ))}
      </dl>
      <SingleKeys />
    </Dialog>
  )
}

function SingleKeys() {
  const [isOn, choose] = useSingleKeys()
  const id = useId()
  return (
    <div className="mx-6 border-t border-border py-3">
      <label className="flex min-h-6 cursor-pointer items-center justify-between gap-6 text-sm font-medium">
        Single keys
        <input
          type="checkbox"
          aria-describedby={id}
          checked={isOn}
          onChange={({ target }) => choose(target.checked)}
          className="size-4 cursor-pointer accent-primary"
        />
      </label>
      <p id={id} className="text-[0.8125rem] text-muted-foreground">
        “?” shows this list, and letters start a message, wherever you are.
      </p>
    </div>
  )
}

function Keys({ combination }: { combination: string }) {
  return (
    <kbd className="rounded-md border border-border bg-muted px-1.5 py-0.5 font-sans text-xs font-medium text-muted-foreground shadow-[0_1px_0_var(--border)]">
      {combination}
    </kbd>
  )
}
