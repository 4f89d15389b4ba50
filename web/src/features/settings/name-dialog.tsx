import { useChat } from '@/state/chat'
import { Button } from '@/ui/button'
import { Dialog } from '@/ui/dialog'
import { NameForm } from './name-form'

export function NameDialog({ onClose }: { onClose: () => void }) {
  const { client } = useChat()
  const { name = '' } = client.snapshot()
  return (
    <Dialog label="Change your name" onClose={onClose} className="w-[min(24rem,calc(100vw-2rem))] p-5">
      <NameForm
        name={name}
        onName={(chosen) => {
          if (chosen !== name) client.rename(chosen)
          onClose()
        }}
      >
        <div className="flex justify-end gap-2">
          <Button variant="ghost" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit">Save</Button>
        </div>
      </NameForm>
    </Dialog>
  )
}
