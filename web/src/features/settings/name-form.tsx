import { useState, type ReactNode } from 'react'
import { nameFault } from 'hubbub-client'
import { Field } from '@/ui/field'

type NameFormProps = { name: string; onName: (name: string) => void; children: ReactNode }

export function NameForm({ name, onName, children }: NameFormProps) {
  const [value, setValue] = useState(name)
  const [fault, setFault] = useState<string>()
  return (
    <form
      className="space-y-4"
      onSubmit={(event) => {
        event.preventDefault()
        const found = nameFault(value)
        setFault(found)
        if (found === undefined) onName(value.trim())
      }}
    >
      <Field
        label="Your name"
        autoComplete="nickname"
        dir="auto"
        autoFocus
        value={value}
        fault={fault}
        onChange={(event) => {
          setValue(event.target.value)
          setFault(undefined)
        }}
      />
      {children}
    </form>
  )
}
