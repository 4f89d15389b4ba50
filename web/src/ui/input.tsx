import type { ComponentProps } from 'react'
import { cn } from './cn'

export function Input({ className, ...props }: ComponentProps<'input'>) {
  return (
    <input
      className={cn(
        'h-11 w-full min-w-0 rounded-md border border-input/60 bg-card px-3 text-base sm:h-10 sm:text-[0.9375rem]',
        'placeholder:text-muted-foreground aria-invalid:border-destructive',
        'focus-visible:border-ring focus-visible:outline-2 focus-visible:outline-offset-0 focus-visible:outline-ring/40',
        className,
      )}
      {...props}
    />
  )
}
