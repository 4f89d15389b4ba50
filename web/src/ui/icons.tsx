import type { ReactNode } from 'react'

function Icon({ children, className = 'size-5' }: { children: ReactNode; className?: string | undefined }) {
  return (
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.75"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={className}
    >
      {children}
    </svg>
  )
}

type IconProps = { className?: string }

export const ArrowDownIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M12 5v14m-6-6 6 6 6-6" />
  </Icon>
)
export const ArrowUpIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M12 19V5m-6 6 6-6 6 6" />
  </Icon>
)
export const CheckIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="m5 12.5 4.5 4.5L19 7.5" />
  </Icon>
)
export const ClockIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="12" cy="12" r="8" />
    <path d="M12 8v4l2.5 1.5" />
  </Icon>
)
export const CloseIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M6 6l12 12M18 6 6 18" />
  </Icon>
)
export const LeaveIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M14 4h4a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1h-4M10 8l-4 4 4 4M6 12h9" />
  </Icon>
)
export const MenuIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M4 7h16M4 12h16M4 17h10" />
  </Icon>
)
export const MoonIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M19.5 14.5A8 8 0 1 1 9.5 4.5a6.5 6.5 0 0 0 10 10Z" />
  </Icon>
)
export const PenIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M5 19l1-4L16 5l3 3L9 18l-4 1Z" />
  </Icon>
)
export const PlusIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <path d="M12 5v14M5 12h14" />
  </Icon>
)
export const ScreenIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <rect x="4" y="5" width="16" height="11" rx="1.5" />
    <path d="M9 20h6m-3-4v4" />
  </Icon>
)
export const SunIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="12" cy="12" r="3.5" />
    <path d="M12 3v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4m0-12.8L17 7M7 17l-1.4 1.4" />
  </Icon>
)
export const WarningIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="12" cy="12" r="8" />
    <path d="M12 8v4.5m0 3v.01" />
  </Icon>
)
export const KeyboardIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <rect x="3" y="6.5" width="18" height="11" rx="2" />
    <path d="M7 10v.01m3.3-.01v.01m3.4-.01v.01M17 10v.01M8 14h8" />
  </Icon>
)
export const PeopleIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="9" cy="9" r="3.25" />
    <path d="M3.5 19a5.5 5.5 0 0 1 11 0M15.5 6.2a3.25 3.25 0 0 1 0 5.6M17.5 14.3a5.5 5.5 0 0 1 3 4.7" />
  </Icon>
)
export const SearchIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="11" cy="11" r="6" />
    <path d="m19.5 19.5-4.2-4.2" />
  </Icon>
)
export const SmileIcon = ({ className }: IconProps) => (
  <Icon className={className}>
    <circle cx="12" cy="12" r="8" />
    <path d="M9 10v.01M15 10v.01M8.5 14a4.2 4.2 0 0 0 7 0" />
  </Icon>
)
