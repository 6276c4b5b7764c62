import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import { OtherErrors, TextField } from '../ui/form.tsx'
import { MoneyField } from '../ui/money-field.tsx'
import { type ActionProps, purchasesKey } from './purchase-data.ts'

const METHODS = [
  { key: 'bank_transfer', label: 'Bank transfer' },
  { key: 'cheque', label: 'Cheque' },
  { key: 'cash', label: 'Cash' },
  { key: 'other', label: 'Other' },
] as const

type Method = (typeof METHODS)[number]['key']

/** `2027-03-01`, today for the reader. */
function today(): string {
  const now = new Date()
  const two = (part: number) => String(part).padStart(2, '0')
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`
}

/** Records money that came outside Stripe: the codes are issued. */
export function MarkPaidDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  const { currency, total_amount: total } = purchase
  const [amount, setAmount] = useState<number | null>(null)
  const [method, setMethod] = useState<Method>('bank_transfer')
  const [reference, setReference] = useState('')
  const [day, setDay] = useState(today)
  const [note, setNote] = useState('')
  const mark = useFormAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/mark-paid', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body: {
            amount: amount ?? 0,
            method,
            reference: reference.trim(),
            // Today is now: the afternoon may not have come yet.
            ...(day === today() || day === '' ? {} : { paid_at: noonOf(day) }),
            ...(note.trim() === '' ? {} : { note: note.trim() }),
          },
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Recorded. The codes are issued.',
    onDone: onClose,
  })
  return (
    <Dialog title="Mark paid" isOpen onClose={onClose}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault()
          mark.mutate()
        }}
      >
        <p>For money that came outside Stripe. An open payment page is closed.</p>
        <MoneyField
          label="Amount received"
          name="amount"
          currency={currency}
          value={amount}
          onChange={setAmount}
          expected={total}
          error={mark.error}
        />
        <SelectField label="How it came" value={method} onChange={setMethod} options={METHODS} />
        <TextField
          label="Reference"
          name="reference"
          hint="What the bank statement, cheque or receipt says."
          value={reference}
          onChange={setReference}
          error={mark.error}
          isRequired
        />
        <TextField
          label="Received on"
          name="paid_at"
          type="date"
          value={day}
          onChange={setDay}
          error={mark.error}
        />
        <TextField
          label="Note"
          name="note"
          hint="Sponsors do not see it."
          value={note}
          onChange={setNote}
          error={mark.error}
        />
        <OtherErrors error={mark.error} shown={['amount', 'reference', 'paid_at', 'note']} />
        <DialogButtons
          action="Mark paid"
          onClose={onClose}
          busy={mark.isPending}
          isDisabled={amount === null}
        />
      </form>
    </Dialog>
  )
}

const noonOf = (day: string) => new Date(`${day}T12:00`).toISOString()
