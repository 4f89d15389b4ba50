import { useState } from 'react'
import { roomFault } from 'hubbub-client'
import { goToRoom, roomNameFrom } from '@/state/route'
import { Button } from '@/ui/button'
import { Field } from '@/ui/field'
import { PlusIcon } from '@/ui/icons'

type JoinFormProps = { onJoin?: (() => void) | undefined; autoFocus?: boolean }

export function JoinForm({ onJoin, autoFocus }: JoinFormProps) {
  const [room, setRoom] = useState('')
  const [fault, setFault] = useState<string>()
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        const name = roomNameFrom(room)
        const found = roomFault(name)
        setFault(found)
        if (found !== undefined) return
        goToRoom(name)
        setRoom('')
        onJoin?.()
      }}
    >
      <Field
        label="Join or create a room"
        placeholder="room-name"
        autoCapitalize="none"
        autoFocus={autoFocus}
        autoComplete="off"
        spellCheck={false}
        value={room}
        fault={fault}
        onChange={(event) => {
          setRoom(event.target.value)
          setFault(undefined)
        }}
      >
        <Button type="submit" variant="secondary" size="icon" aria-label="Join">
          <PlusIcon />
        </Button>
      </Field>
    </form>
  )
}
