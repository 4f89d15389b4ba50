import type { ComponentProps } from 'react'
import { cn } from './cn'

const VARIANTS = {
  default: 'bg-primary text-primary-foreground hover:bg-primary/90',
  secondary: 'bg-secondary text-secondary-foreground hover:bg-secondary/75',
  destructive: 'bg-destructive text-background hover:bg-destructive/90',
  outline: 'border border-border bg-card hover:bg-accent hover:text-accent-foreground',
  ghost: 'text-muted-foreground hover:bg-accent hover:text-accent-foreground',
  link: 'text-primary underline-offset-4 hover:underline',
  quiet: 'text-muted-foreground underline-offset-4 hover:underline',
}

const SIZES = {
  default: 'h-11 px-4 text-sm sm:h-10',
  sm: 'h-11 px-3 text-[0.8125rem] sm:h-8',
  icon: 'size-11 sm:size-10',
  'icon-sm': 'size-11 sm:size-8',
  text: 'min-h-11 text-[0.8125rem] sm:min-h-6',
}

const SHAPES = { default: 'rounded-md', pill: 'rounded-full' }

type ButtonProps = ComponentProps<'button'> & {
  variant?: keyof typeof VARIANTS
  size?: keyof typeof SIZES
  shape?: keyof typeof SHAPES
}

export function Button({ variant = 'default', size = 'default', shape = 'default', className, ...props }: ButtonProps) {
  return (
    <button
      type="button"
      className={cn(
        'inline-flex shrink-0 items-center justify-center gap-2 font-medium whitespace-nowrap transition-colors',
        'disabled:pointer-events-none disabled:opacity-45',
        VARIANTS[variant],
        SIZES[size],
        SHAPES[shape],
        className,
      )}
      {...props}
    />
  )
}
