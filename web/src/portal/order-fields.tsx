import type { Dispatch, SetStateAction } from 'react'
import type { ApiError } from '../api/client.ts'
import { NumberField } from '../ui/choices.tsx'
import { TextField } from '../ui/form.tsx'
import { formatCount } from '../ui/format.ts'

/** What a sponsor chooses about an order, as the fields have it. */
export type Order = {
  /** NaN while the field is empty. */
  quantity: number
  reference: string
}

/** The fields of the API that show their errors here. */
export const ORDER_NAMES = ['quantity', 'reference'] as const

export function OrderFields({
  order,
  onChange,
  max,
  error,
}: {
  order: Order
  onChange: Dispatch<SetStateAction<Order>>
  /** The most codes at once. */
  max: number
  error: ApiError | null
}) {
  return (
    <>
      <NumberField
        label="How many codes"
        name="quantity"
        min={1}
        max={max}
        value={order.quantity}
        onChange={(quantity) => onChange((now) => ({ ...now, quantity }))}
        error={error}
        hint={`Up to ${formatCount(max)} at once.`}
        isRequired
      />
      <TextField
        label="Your reference (optional)"
        name="reference"
        value={order.reference}
        onChange={(reference) => onChange((now) => ({ ...now, reference }))}
        error={error}
        hint="Such as your order number. It is on this site and in our mails."
      />
    </>
  )
}
