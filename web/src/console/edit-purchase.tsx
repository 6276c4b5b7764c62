import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf } from '../api/client.ts'
import { NumberField } from '../ui/choices.tsx'
import { Money } from '../ui/data.tsx'
import { changesOf, TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { MoneyField } from '../ui/money-field.tsx'
import { type ActionProps, purchasesKey } from './purchase-data.ts'
import { TermsFields, type TermsInput } from './voucher-terms.tsx'

/** Quantity, price, text and terms of an order that is not paid yet. Only what changed is sent. */
export function EditDialog({ scope: { conference }, purchase, onClose }: ActionProps) {
  const { currency } = purchase
  // The form keeps what the person saw when it opened.
  const [before] = useState({
    quantity: purchase.quantity,
    unit_amount: purchase.unit_amount,
    description: purchase.description,
    reference: purchase.reference ?? '',
  })
  const [order, setOrder] = useState(before)
  const [termsBefore] = useState<TermsInput>(purchase.voucher_config)
  const [terms, setTerms] = useState<TermsInput>(termsBefore)
  const set = (change: Partial<typeof order>) => setOrder((now) => ({ ...now, ...change }))
  const { reference, ...changed } = changesOf(before, order)
  const changedTerms = changesOf(termsBefore, terms)
  if (changedTerms.voucher_type !== undefined && terms.discount_value !== undefined) {
    changedTerms.discount_value = terms.discount_value
  }
  const body = {
    ...changed,
    ...(reference === undefined ? {} : { reference: reference.trim() || null }),
    ...(Object.keys(changedTerms).length === 0 ? {} : { voucher_config: changedTerms }),
  }
  const update = useFormAction({
    run: (changes: typeof body, key) =>
      dataOf(
        api.PATCH('/v1/conferences/{conference}/purchases/{purchase}', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body: changes,
        }),
      ),
    changes: [purchasesKey(conference)],
    done: 'Saved.',
    onDone: onClose,
  })
  const { error } = update
  return (
    <FormDialog
      wide
      title="Change the purchase"
      action="Save"
      onSubmit={() => update.mutate(body)}
      onClose={onClose}
      busy={update.isPending}
      isDisabled={Object.keys(body).length === 0}
      error={error}
      shown={['quantity', 'unit_amount', 'description', 'reference', ...TERMS]}
    >
      <div className="filters">
        <NumberField
          label="Number of codes"
          name="quantity"
          value={order.quantity}
          onChange={(quantity) => set({ quantity })}
          min={1}
          error={error}
          isRequired
        />
        <MoneyField
          label="Price of one code"
          name="unit_amount"
          currency={currency}
          value={order.unit_amount}
          onChange={(unit) => {
            if (unit !== null) set({ unit_amount: unit })
          }}
          error={error}
          isRequired
        />
        <TextField
          label="Reference"
          name="reference"
          value={order.reference}
          onChange={(text) => set({ reference: text })}
          error={error}
        />
      </div>
      <TextField
        label="Description"
        name="description"
        value={order.description}
        onChange={(description) => set({ description })}
        error={error}
        isRequired
      />
      <p>
        Total: <Money amount={order.quantity * order.unit_amount || 0} currency={currency} />
      </p>
      <TermsFields terms={terms} onChange={setTerms} currency={currency} error={error} />
    </FormDialog>
  )
}

/** The terms that have a field with their errors. */
const TERMS = ['discount_value', 'max_uses', 'valid_from', 'valid_until', 'prefix'].map(
  (name) => `voucher_config/${name}`,
)
