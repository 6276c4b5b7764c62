import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
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
    run: (body: Schema<'RecordPayment'>, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/mark-paid', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body,
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Recorded. The codes are issued.',
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Mark paid"
      action="Mark paid"
      onSubmit={() =>
        mark.mutate({
          amount: amount ?? 0,
          method,
          reference: reference.trim(),
          // Today is now: the afternoon may not have come yet.
          ...(day === today() || day === '' ? {} : { paid_at: noonOf(day) }),
          ...(note.trim() === '' ? {} : { note: note.trim() }),
        })
      }
      onClose={onClose}
      busy={mark.isPending}
      isDisabled={amount === null}
      error={mark.error}
      shown={['amount', 'reference', 'paid_at', 'note']}
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
    </FormDialog>
  )
}

const noonOf = (day: string) => new Date(`${day}T12:00`).toISOString()
