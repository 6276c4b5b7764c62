import { z } from 'zod'
import { AppError } from '../shared/errors.ts'

/**
 * The fields that Stripe objects share. All but the id may be missing: a deleted object is
 * `{ id, object, deleted: true }`, and older API versions had fewer fields.
 */
export type StripeObject = {
  id: string
  object?: string
  /** Seconds since 1970, UTC. */
  created?: number
  livemode?: boolean
  /** The SDK declares it as `void` for objects that are not deleted. */
  deleted?: boolean | void
  metadata?: { [key: string]: string } | null
}

/** The id in a reference, which is an id or, when expanded, the object itself. */
export function idOf(reference: string | { id?: string } | null | undefined): string | null {
  const id = typeof reference === 'string' ? reference : reference?.id
  return typeof id === 'string' ? id : null
}

// Schemas of the fields that this service reads. The SDK's types describe one API version and are not
// checked at run time: without a schema, a proxy's error page with status 200 would pass as a session.

/** A reference is an id or, when expanded, the object itself. */
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

/** A payment intent with its latest charge, if it has one. */
export const chargedIntentObject = paymentIntentObject.extend({
  latest_charge: z.object({ status: z.string(), created: z.int() }).nullish(),
})

/**
 * The decline behind a payment intent's `last_payment_error`, or null.
 *
 * @returns `fact`: an id of the decline, so that it is recorded once.
 */
export function declineOf(
  error: z.output<typeof paymentIntentObject>['last_payment_error'],
): { fact: string; code: string; message: string } | null {
  if (error === null) return null
  // Banks use different decline codes when they require authentication; the error code is the same.
  const needsPayer = error.code === 'authentication_required'
  const code = (needsPayer ? error.code : error.decline_code) ?? error.code ?? 'payment_failed'
  return { fact: error.charge ?? code, code, message: error.message ?? 'The payment failed.' }
}

/** @see https://docs.stripe.com/api/refunds/object */
export const refundObject = z.object({
  id: z.string().min(1),
  amount: z.int(),
  currency,
  // Null on very old refunds. `pending` is the safe default: such a refund may still fail.
  status: z
    .enum(['pending', 'requires_action', 'succeeded', 'failed', 'canceled'])
    .nullish()
    .transform((status) => status ?? 'pending'),
  metadata,
  reason: text,
  failure_reason: text,
  created: z.int(),
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

/**
 * A deleted customer has little more than `id` and `deleted`.
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

/** The customer's default payment method, or null. */
export function defaultMethodOf(customer: z.output<typeof customerObject>): string | null {
  return customer.invoice_settings?.default_payment_method ?? customer.default_source
}

export const chargeObject = z.object({ id: z.string().min(1), payment_intent: reference })

/** @see https://docs.stripe.com/api/payouts/object */
export const payoutObject = z.object({
  id: z.string().min(1),
  status: z.enum(['paid', 'pending', 'in_transit', 'canceled', 'failed']),
  automatic: z.boolean(),
  amount: z.int(),
  currency,
  created: z.int(),
  arrival_date: z.int(),
  method: z.string(),
  description: text,
  reconciliation_status: text,
  failure_code: text,
  failure_message: text,
})

/** What moved the money: a charge, refund, dispute, payout or one of about ten other kinds. */
const movementSource = z.object({
  id: z.string().min(1),
  object: z.string(),
  amount: z.int().optional(),
  currency: currency.optional(),
  payment_intent: reference,
  metadata,
})

/**
 * Fetched with `expand: ['data.source']`.
 * @see https://docs.stripe.com/api/balance_transactions/object
 */
export const balanceTransactionObject = z.object({
  id: z.string().min(1),
  type: z.string(),
  reporting_category: z.string(),
  amount: z.int(),
  fee: z.int(),
  net: z.int(),
  currency,
  exchange_rate: z
    .number()
    .nullish()
    .transform((rate) => rate ?? null),
  created: z.int(),
  available_on: z.int(),
  description: text,
  source: z.union([movementSource, z.string().transform((id) => ({ id }))]).nullable(),
})

export const accountObject = z.object({ id: z.string().min(1) })

/** Validates an object from Stripe. @throws AppError `stripe_failed` when it does not fit the schema. */
export function parseStripeObject<T extends z.ZodType>(
  schema: T,
  object: unknown,
  what: string,
): z.output<T> {
  const parsed = schema.safeParse(object)
  if (parsed.success) return parsed.data
  const fields = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  throw new AppError('stripe_failed', `Stripe returned a ${what} in an unexpected format.`, {
    retryAfterSeconds: 2,
    cause: new Error(`Unexpected ${what} from Stripe: ${fields.join('; ')}`),
  })
}
