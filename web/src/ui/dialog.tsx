import { useEffect, useLayoutEffect, useRef, type ReactNode } from 'react'
import { cn } from './cn'

const SHAPES = {
  center: 'm-auto animate-rise rounded-xl shadow-2xl',
  top: 'mx-auto mt-[12vh] mb-auto animate-rise rounded-xl shadow-2xl',
  left: 'mr-auto ml-0 h-dvh max-h-none w-[min(19rem,85vw)] animate-from-left bg-sidebar pt-[env(safe-area-inset-top)] pl-[env(safe-area-inset-left)] shadow-2xl',
  right: 'mr-0 ml-auto h-dvh max-h-none w-[min(19rem,85vw)] animate-from-right bg-sidebar pt-[env(safe-area-inset-top)] pr-[env(safe-area-inset-right)] pb-[env(safe-area-inset-bottom)] shadow-2xl',
}

type DialogProps = { label: string; onClose: () => void; shape?: keyof typeof SHAPES; className?: string; children: ReactNode }

/** A modal dialog, open as long as it is rendered. Esc and a press beside it close it. */
export function Dialog({ label, onClose, shape = 'center', className, children }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null)

  // closed while it is still in the page, a dialog gives the focus back to where it was
  useLayoutEffect(() => {
    const dialog = ref.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])

  useEffect(() => {
    const dialog = ref.current
    if (!dialog) return
    let isBeside = false
    const onPress = (event: PointerEvent) => {
      isBeside = isOutside(dialog, event)
    }
    // not before the press is over: what lies below would get the rest of it
    const onClick = (event: MouseEvent) => {
      if (isBeside && isOutside(dialog, event)) onClose()
    }
    dialog.addEventListener('pointerdown', onPress)
    dialog.addEventListener('click', onClick)
    return () => {
      dialog.removeEventListener('pointerdown', onPress)
      dialog.removeEventListener('click', onClick)
    }
  }, [onClose])

  return (
    <dialog
      ref={ref}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      className={cn(
        'bg-popover text-popover-foreground backdrop:bg-black/45 forced-colors:border',
        SHAPES[shape],
        className,
      )}
    >
      {children}
    </dialog>
  )
}

/** Whether this is beside the dialog. Its own padding and scroll bar are not. */
function isOutside(dialog: HTMLDialogElement, { target, clientX: x, clientY: y }: MouseEvent): boolean {
  const { left, right, top, bottom } = dialog.getBoundingClientRect()
  return target === dialog && (x < left || x > right || y < top || y > bottom)
}
