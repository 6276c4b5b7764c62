import { useState } from 'react'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { changesOf } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { ORDER_NAMES, OrderFields } from './order-fields.tsx'
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
  const [order, setOrder] = useState(before)
  const { quantity, reference } = changesOf(before, order)
  const changes = {
    ...(quantity === undefined ? {} : { quantity: Number.isNaN(quantity) ? 0 : quantity }),
    ...(reference === undefined ? {} : { reference: reference.trim() || null }),
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
      shown={ORDER_NAMES}
    >
      <OrderFields
        order={order}
        onChange={setOrder}
        max={options.max_quantity}
        error={save.error}
      />
      <Total price={purchase.unit_amount} quantity={order.quantity} currency={purchase.currency} />
      {options.bank_details === null || purchase.total_amount === 0 ? null : (
        <p className="hint">
          Have you sent a bank transfer already? Then do not change the number of codes: the amount
          must be the total.
        </p>
      )}
    </FormDialog>
  )
}
