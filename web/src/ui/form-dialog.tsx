import type { ReactNode } from 'react'
import type { ApiError } from '../api/client.ts'
import { Dialog, DialogButtons } from './dialog.tsx'
import { OtherErrors } from './form.tsx'

/** A form above the page. Render it only while it is open, so that it begins with fresh values. */
export function FormDialog({
  title,
  action,
  onSubmit,
  onClose,
  busy,
  error,
  shown,
  wide = false,
  danger = false,
  isDisabled = false,
  children,
}: {
  title: string
  /** The word on the button. */
  action: string
  onSubmit: () => void
  onClose: () => void
  busy: boolean
  error: ApiError | null
  /** The fields of the API that show their errors themselves. */
  shown: readonly string[]
  wide?: boolean
  danger?: boolean
  isDisabled?: boolean
  children: ReactNode
}) {
  return (
    <Dialog title={title} isOpen onClose={onClose} wide={wide}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault()
          onSubmit()
        }}
      >
        {children}
        <OtherErrors error={error} shown={shown} />
        <DialogButtons
          action={action}
          onClose={onClose}
          busy={busy}
          danger={danger}
          isDisabled={isDisabled}
        />
      </form>
    </Dialog>
  )
}
