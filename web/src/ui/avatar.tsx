import type { CSSProperties } from 'react'
import { cn } from './cn'
import { isVisible } from './visible'

/** The hue of a person, the same everywhere and on every visit. */
function hueOf(id: string): number {
  let hash = 0
  for (const letter of id) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 3600
  return hash / 10
}

export function hueStyle(id: string): CSSProperties {
  return { '--hue': hueOf(id) } as CSSProperties
}

function initials(name: string): string {
  if (!isVisible(name)) return '?'
  const [first = '', second = ''] = name.trim().split(/\s+/)
  return ([...first].slice(0, 1).join('') + [...second].slice(0, 1).join('')).toLocaleUpperCase()
}

export function Avatar({ id, name, className }: { id: string; name: string; className: string }) {
  return (
    <span
      aria-hidden="true"
      style={hueStyle(id)}
      className={cn(
        'author-fill inline-flex shrink-0 items-center justify-center rounded-[0.7rem] font-display text-[0.8125rem] font-semibold',
        className,
      )}
    >
      {initials(name)}
    </span>
  )
}
