import { Button } from '@/ui/button'
import { Dialog } from '@/ui/dialog'

type LeaveDialogProps = { room: string; unsent: number; onLeave: () => void; onClose: () => void }

/** Asks before what was not sent goes with the room. */
export function LeaveDialog({ room, unsent, onLeave, onClose }: LeaveDialogProps) {
  return (
    <Dialog label={`Leave ${room}?`} onClose={onClose} className="w-[min(24rem,calc(100vw-2rem))] p-5">
      <h2 className="truncate font-display text-lg font-semibold tracking-tight">Leave #{room}?</h2>
      <p className="mt-1 mb-4 text-sm">
        {unsent === 1 ? '1 unsent message' : `${unsent} unsent messages`} will be deleted.
      </p>
      <div className="flex justify-end gap-2">
        <Button variant="ghost" autoFocus onClick={onClose}>
          Cancel
        </Button>
        <Button variant="destructive" onClick={onLeave}>
          Leave room
        </Button>
      </div>
    </Dialog>
  )
}
