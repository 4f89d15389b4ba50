import { useEffect, useRef, type ReactNode } from 'react'
import { cn } from '@/components/cn'

type DialogProps = { label: string; onClose: () => void; className?: string; children: ReactNode }

/** A modal dialog, open as long as it is rendered. Esc and a press beside it close it. */
export function Dialog({ label, onClose, className, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null)

  useEffect(() => {
    const dialog = ref.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])

  useEffect(() => {
    const dialog = ref.current
    const onPress = (event: PointerEvent) => {
      if (event.target === dialog) onClose()
    }
    dialog?.addEventListener('pointerdown', onPress)
    return () => dialog?.removeEventListener('pointerdown', onPress)
  }, [onClose])

  return (
    <dialog
      ref={ref}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      className={cn('bg-popover text-popover-foreground backdrop:bg-black/45', className)}
    >
      {children}
    </dialog>
  )
}
