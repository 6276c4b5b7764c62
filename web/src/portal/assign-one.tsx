import { useState } from 'react'
import { useAction, useFormAction } from '../api/actions.ts'
import { api, type Schema } from '../api/client.ts'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { CheckboxField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { PERSON_NAMES, PersonFields } from '../ui/person-fields.tsx'
import type { PortalScope } from './scope.ts'

type Voucher = Schema<'Voucher'>
type Props = { scope: PortalScope; voucher: Voucher; onClose: () => void }

/** Gives a code to a person, or to another one. */
export function AssignDialog({ scope: { conference }, voucher, onClose }: Props) {
  const { code, assigned_to: before } = voucher
  const [person, setPerson] = useState({ email: before?.email ?? '', name: before?.name ?? '' })
  const [send, setSend] = useState(true)
  const email = person.email.trim()
  const assign = useFormAction({
    run: () =>
      api.PUT('/v1/conferences/{conference}/vouchers/{code}/assignment', {
        params: { path: { conference, code } },
        body: {
          email,
          name: person.name.trim() === '' ? null : person.name,
          // Fails if a colleague gave the code to somebody else meanwhile.
          replaces: before?.email ?? null,
          send,
        },
      }),
    changes: [['vouchers', conference]],
    done: send ? `The code is on its way to ${email}.` : `${email} has the code.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title={before === null ? 'Assign the code' : 'Change the person'}
      action={send ? 'Assign and send' : 'Assign'}
      onSubmit={() => assign.mutate()}
      onClose={onClose}
      busy={assign.isPending}
      error={assign.error}
      shown={PERSON_NAMES}
    >
      <p>
        <code>{code}</code>
      </p>
      <PersonFields person={person} onChange={setPerson} error={assign.error} />
      <CheckboxField label="Send the code to this person by mail" value={send} onChange={setSend} />
      {before === null ? null : (
        <p className="hint">
          {before.name ?? before.email} still knows the code. Tell them not to use it.
        </p>
      )}
    </FormDialog>
  )
}

/** Takes an unused code back. */
export function TakeBackDialog({ scope: { conference }, voucher, onClose }: Props) {
  const { code, assigned_to: person } = voucher
  const who = person?.name ?? person?.email ?? 'The person'
  const takeBack = useAction({
    run: () =>
      api.DELETE('/v1/conferences/{conference}/vouchers/{code}/assignment', {
        params: { path: { conference, code } },
      }),
    changes: [['vouchers', conference]],
    done: 'The code is free again.',
    onDone: onClose,
  })
  return (
    <Dialog title="Take the code back?" isOpen onClose={onClose}>
      <p>
        <code>{code}</code> is free for somebody else then. {who} gets no mail and still knows the
        code.
      </p>
      <DialogButtons
        action="Take back"
        busy={takeBack.isPending}
        onAction={() => takeBack.mutate()}
        onClose={onClose}
      />
    </Dialog>
  )
}
