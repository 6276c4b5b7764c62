import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { NumberField } from '../ui/choices.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { formatCount } from '../ui/format.ts'
import type { PortalScope } from './scope.ts'
import { Total } from './total.tsx'

type Purchase = Schema<'Purchase'>

/** The number of codes and the reference of an order, as long as no payment page was opened for it. */
export function ChangeOrder({
  scope: { conference },
  purchase,
  options,
  onClose,
}: {
  scope: PortalScope
  purchase: Purchase
  options: Schema<'PurchaseOptions'>
  onClose: () => void
}) {
  // The form keeps what the person saw when it opened, and sends only what the person changed.
  const [before] = useState({ quantity: purchase.quantity, reference: purchase.reference ?? '' })
  const [quantity, setQuantity] = useState(before.quantity)
  const [reference, setReference] = useState(before.reference)
  const changes = {
    ...(quantity === before.quantity ? {} : { quantity: Number.isNaN(quantity) ? 0 : quantity }),
    ...(reference === before.reference ? {} : { reference: reference.trim() || null }),
  }
  const save = useFormAction({
    run: (body: typeof changes, key) =>
      dataOf(
        api.PATCH('/v1/conferences/{conference}/purchases/{purchase}', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          body,
        }),
      ),
    changes: [['purchases', conference]],
    done: 'The order is changed.',
    onDone: onClose,
  })
  return (
    <FormDialog
      title="Change the order"
      action="Save"
      onSubmit={() => save.mutate(changes)}
      onClose={onClose}
      busy={save.isPending}
      isDisabled={Object.keys(changes).length === 0}
      error={save.error}
      shown={['quantity', 'reference']}
    >
      <NumberField
        label="How many codes"
        name="quantity"
        min={1}
        max={options.max_quantity}
        value={quantity}
        onChange={setQuantity}
        error={save.error}
        hint={`Up to ${formatCount(options.max_quantity)} at once.`}
        isRequired
      />
      <TextField
        label="Your reference (optional)"
        name="reference"
        value={reference}
        onChange={setReference}
        error={save.error}
      />
      <Total price={purchase.unit_amount} quantity={quantity} currency={purchase.currency} />
      {options.bank_details === null || purchase.total_amount === 0 ? null : (
        <p className="hint">
          Have you sent a bank transfer already? Then do not change the number of codes: the amount
          must be the total.
        </p>
      )}
    </FormDialog>
  )
}
