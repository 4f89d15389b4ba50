import { useId, type ComponentProps, type ReactNode } from 'react'
import { cn } from './cn'
import { Input } from './input'

type FieldProps = ComponentProps<'input'> & {
  label: string
  /** What is wrong with the value. */
  fault?: string | undefined
  hint?: string
  isLabelHidden?: boolean
  children?: ReactNode
}

/** An input with its label, and below it what is wrong with the value. Children stand at its end. */
export function Field({ label, fault, hint, isLabelHidden, children, ...props }: FieldProps) {
  const id = useId()
  const note = fault ?? hint
  return (
    <div>
      <label htmlFor={id} className={cn('mb-1.5 block text-sm font-medium', isLabelHidden && 'sr-only')}>
        {label}
      </label>
      <div className="flex gap-2">
        <Input id={id} aria-invalid={fault !== undefined} aria-describedby={note && `${id}-note`} {...props} />
        {children}
      </div>
      {note && (
        <p
          id={`${id}-note`}
          role={fault && 'alert'}
          className={cn('mt-1.5 text-[0.8125rem] leading-snug', fault ? 'text-destructive' : 'text-muted-foreground')}
        >
          {note}
        </p>
      )}
    </div>
  )
}
