import type { ReactNode } from 'react'
import { Dialog as AriaDialog } from 'react-aria-components/Dialog'
import { Heading } from 'react-aria-components/Heading'
import { Modal, ModalOverlay } from 'react-aria-components/Modal'
import { Button } from './controls.tsx'

/** A dialog above the page. Escape and a press outside close it. */
export function Dialog({
  title,
  isOpen,
  onClose,
  children,
  wide = false,
}: {
  title: string
  isOpen: boolean
  onClose: () => void
  children: ReactNode
  wide?: boolean
}) {
  return (
    <ModalOverlay
      className="overlay"
      isOpen={isOpen}
      isDismissable
      onOpenChange={(open) => {
        if (!open) onClose()
      }}
    >
      <Modal className={wide ? 'modal modal-wide' : 'modal'}>
        <AriaDialog className="dialog">
          <Heading slot="title">{title}</Heading>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  )
}

/** The buttons at the end of a dialog: the action, and a way out. */
export function DialogButtons({
  action,
  onAction,
  onClose,
  busy,
  danger = false,
  isDisabled = false,
}: {
  action: string
  /** Absent: the button submits the form. */
  onAction?: () => void
  onClose: () => void
  busy: boolean
  danger?: boolean
  isDisabled?: boolean
}) {
  return (
    <div className="dialog-buttons">
      <Button kind="quiet" onPress={onClose}>
        Close
      </Button>
      <Button
        kind={danger ? 'danger' : 'primary'}
        busy={busy}
        isDisabled={isDisabled}
        {...(onAction === undefined ? { type: 'submit' } : { onPress: onAction })}
      >
        {action}
      </Button>
    </div>
  )
}
