import { useEffect, useState } from 'react'
import { IS_APPLE } from '@/features/settings'
import { Button } from '@/ui/button'
import { Dialog } from '@/ui/dialog'
import { Field } from '@/ui/field'
import { CloseIcon } from '@/ui/icons'

/** The address of the room in view, copied already where the browser allows that. */
export function AddressDialog({ onClose }: { onClose: () => void }) {
  const [address] = useState(() => location.href)
  const [note, setNote] = useState('')
  useEffect(() => {
    void copy(address).then(setNote)
  }, [address])
  return (
    <Dialog label="Copy link" onClose={onClose} className="w-[min(30rem,calc(100vw-2rem))] p-5">
      <Field label="Link to this room" readOnly autoFocus value={address} onFocus={({ target }) => target.select()}>
        <Button variant="ghost" size="icon" aria-label="Close" onClick={onClose}>
          <CloseIcon />
        </Button>
      </Field>
      <p role="status" className="mt-1.5 min-h-5 text-[0.8125rem] text-muted-foreground">
        {note}
      </p>
    </Dialog>
  )
}

/** Says how that went. */
async function copy(text: string): Promise<string> {
  try {
    await navigator.clipboard.writeText(text)
    return 'Link copied.'
  } catch {
    // refused, or not there at all where the page is not secure
    return `Couldn’t copy. The link is selected: press ${IS_APPLE ? '⌘C' : 'Ctrl+C'}.`
  }
}
