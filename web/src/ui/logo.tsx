export function Logo({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true" className={className}>
      <rect width="32" height="32" rx="9" className="fill-primary" />
      <g className="stroke-primary-foreground" strokeWidth="3" strokeLinecap="round">
        <path d="M9 13v6" />
        <path d="M16 8v16" />
      </g>
      <path d="M23 12.5v7" className="stroke-highlight dark:stroke-[oklch(0.5_0.13_70)]" strokeWidth="3" strokeLinecap="round" />
    </svg>
  )
}
