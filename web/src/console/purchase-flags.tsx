import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Money, When } from '../ui/data.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { purchasesKey, usePayments } from './purchase-data.ts'
import { FLAGS, type Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

type Flag = Purchase['flags'][number]
type Decision = 'none' | 'accept_payment' | 'reinstate'

/** What staff must decide, and the way to do it. */
export function Flags({ scope, purchase }: { scope: ConsoleScope; purchase: Purchase }) {
  const [open, setOpen] = useState<Flag | null>(null)
  return (
    <>
      {purchase.flags.map((flag) => (
        <div key={`${flag.code} ${flag.detail}`} className="note note-warn">
          <strong>{FLAGS[flag.code]}</strong>
          <span>
            {flag.detail} <When at={flag.raised_at} ago />
          </span>
          {scope.may('purchases:write') ? (
            <Button small onPress={() => setOpen(flag)}>
              Resolve
            </Button>
          ) : null}
        </div>
      ))}
      {open === null ? null : (
        <ResolveDialog
          scope={scope}
          purchase={purchase}
          flag={open}
          onClose={() => setOpen(null)}
        />
      )}
    </>
  )
}

/** What can be done about a flag besides the note. */
function decisionsFor({ code }: Flag): { key: Decision; label: string; hint?: string }[] {
  const none = { key: 'none' as const, label: 'Only note it' }
  if (code === 'amount_mismatch') {
    const label = 'Accept the payment'
    return [
      none,
      { key: 'accept_payment', label, hint: 'The purchase is paid, and codes are issued.' },
    ]
  }
  if (code === 'refund_failed') {
    return [none, { key: 'reinstate', label: 'Reinstate', hint: 'The codes work again.' }]
  }
  return [none]
}

function ResolveDialog({
  scope: { conference },
  purchase: { id: purchase },
  flag,
  onClose,
}: {
  scope: ConsoleScope
  purchase: Purchase
  flag: Flag
  onClose: () => void
}) {
  const [note, setNote] = useState('')
  const [decision, setDecision] = useState<Decision>('none')
  const [payment, setPayment] = useState<string | null>(null)
  const { data: known } = usePayments(conference, purchase)
  const payments = (known?.payments ?? []).filter(({ amount_received: amount }) => amount > 0)
  const decisions = decisionsFor(flag)
  const resolve = useFormAction({
    run: (body: Schema<'ResolvePurchaseFlag'>, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/resolve-flag', {
          params: { path: { conference, purchase }, header: { 'Idempotency-Key': key } },
          body,
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'The flag is resolved.',
    onDone: onClose,
  })
  return (
    <FormDialog
      title={`Resolve: ${FLAGS[flag.code]}`}
      action="Resolve"
      onSubmit={() =>
        resolve.mutate({
          code: flag.code,
          note: note.trim(),
          ...(decision === 'none' ? {} : { action: decision }),
          ...(decision === 'accept_payment' && payment !== null ? { payment_intent: payment } : {}),
        })
      }
      onClose={onClose}
      busy={resolve.isPending}
      error={resolve.error}
      shown={['note', 'payment_intent']}
    >
      <p>{flag.detail}</p>
      {decisions.length > 1 ? (
        <SelectField
          label="What to do"
          value={decision}
          onChange={setDecision}
          options={decisions}
        />
      ) : null}
      {decision === 'accept_payment' && payments.length > 1 ? (
        <SelectField
          label="Payment"
          name="payment_intent"
          error={resolve.error}
          value={payment}
          onChange={setPayment}
          options={payments.map(({ id }) => ({ key: id, label: id }))}
        />
      ) : null}
      {decision === 'accept_payment' && payments.length === 1 && payments[0] !== undefined ? (
        <p>
          Received: <Money amount={payments[0].amount_received} currency={payments[0].currency} />
        </p>
      ) : null}
      <TextField
        label="Note"
        name="note"
        lines={3}
        hint="What was decided, and why. Sponsors do not see it."
        value={note}
        onChange={setNote}
        error={resolve.error}
        isRequired
      />
    </FormDialog>
  )
}
