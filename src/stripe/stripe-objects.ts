import { z } from 'zod'
import { AppError } from '../shared/errors.ts'

// Only what we read. The SDK's types describe one API version and are not checked when an answer
// arrives; a proxy's error page with status 200 would pass for a session.

/** A reference comes as an id or, when expanded, as the object itself. */
const reference = z
  .union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)])
  .nullish()
  .transform((id) => id ?? null)

const metadata = z
  .record(z.string(), z.string())
  .nullish()
  .transform((entries) => entries ?? {})

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? null)

const currency = z.string().transform((code) => code.toUpperCase())

/** @see https://docs.stripe.com/api/checkout/sessions/object */
export const sessionObject = z.object({
  id: z.string().min(1),
  livemode: z.boolean().optional(),
  status: z.enum(['open', 'complete', 'expired']),
  payment_status: z.enum(['paid', 'unpaid', 'no_payment_required']),
  client_reference_id: text,
  metadata,
  payment_intent: reference,
  url: text,
  expires_at: z.int(),
})

/** @see https://docs.stripe.com/api/payment_intents/object */
export const paymentIntentObject = z.object({
  id: z.string().min(1),
  livemode: z.boolean().optional(),
  status: z.string(),
  amount: z.int(),
  amount_received: z.int(),
  currency,
  metadata,
  last_payment_error: z
    .object({ charge: reference, code: text, decline_code: text, message: text })
    .nullish()
    .transform((error) => error ?? null),
})

/** @see https://docs.stripe.com/api/refunds/object */
export const refundObject = z.object({
  id: z.string().min(1),
  amount: z.int(),
  currency,
  // Null on very old ones; a refund that may still fail is the cautious reading.
  status: z
    .enum(['pending', 'requires_action', 'succeeded', 'failed', 'canceled'])
    .nullish()
    .transform((status) => status ?? 'pending'),
  metadata,
  reason: text,
  failure_reason: text,
})

/** @see https://docs.stripe.com/api/disputes/object */
export const disputeObject = z.object({
  id: z.string().min(1),
  livemode: z.boolean().optional(),
  amount: z.int(),
  currency,
  status: z.string(),
  reason: text,
})

/** @see https://docs.stripe.com/api/radar/early_fraud_warnings/object */
export const warningObject = z.object({
  id: z.string().min(1),
  fraud_type: z.string(),
})

export const chargeObject = z.object({ id: z.string().min(1), payment_intent: reference })

export const accountObject = z.object({ id: z.string().min(1) })

/** Reads an answer by its schema. @throws AppError `stripe_failed` when it is not what it should be. */
export function parseStripeObject<T extends z.ZodType>(
  schema: T,
  answer: unknown,
  what: string,
): z.output<T> {
  const parsed = schema.safeParse(answer)
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new AppError('stripe_failed', `Stripe's answer is not a ${what} that we understand.`, {
    retryAfterSeconds: 2,
    cause: new Error(`Unexpected ${what} from Stripe: ${fields.join('; ')}`),
  })
}

const customerReference = z
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
  default_source: customerReference,
  invoice_settings: z.object({ default_payment_method: customerReference }).nullish(),
})

/** @see https://docs.stripe.com/api/payment_methods/object */
export const paymentMethodObject = z.object({
  id: z.string().min(1),
  customer: customerReference,
  created: z.int().nullish(),
})

/** The payment method that is charged unless another is named, or null. */
export function defaultMethodOf(customer: z.output<typeof customerObject>): string | null {
  return customer.invoice_settings?.default_payment_method ?? customer.default_source
}
