import { z } from 'zod'

const reference = z
  .union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)])
  .nullish()
  .transform((id) => id ?? null)

/**
 * What billing reads of a customer; a deleted one says little more than that.
 * @see https://docs.stripe.com/api/customers/object
 */
export const customerObject = z.object({
  id: z.string().min(1),
  deleted: z.boolean().optional(),
  default_source: reference,
  invoice_settings: z.object({ default_payment_method: reference }).nullish(),
})

/** @see https://docs.stripe.com/api/payment_methods/object */
export const paymentMethodObject = z.object({
  id: z.string().min(1),
  customer: reference,
  created: z.int().nullish(),
})

/** The payment method that is charged unless another is named, or null. */
export function defaultMethodOf(customer: z.output<typeof customerObject>): string | null {
  return customer.invoice_settings?.default_payment_method ?? customer.default_source
}
