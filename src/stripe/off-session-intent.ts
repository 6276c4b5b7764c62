import type Stripe from 'stripe'
import { toStripeAmount } from '../shared/money.ts'
import { callStripe, isRefusal, type Refusal, toAppError, toRefusal } from './stripe-errors.ts'
import { parseStripeObject, paymentIntentObject } from './stripe-objects.ts'

export type IntentParams = {
  /** Minor units of `currency`. */
  amount: number
  currency: string
  customer: string
  paymentMethod: string
  description: string
  statementDescriptorSuffix: string | null
  metadata: Record<string, string>
}

/** A refused intent may exist at Stripe all the same: an intent that is not confirmed charges nothing. */
export type CreateIntentResult = { kind: 'made'; paymentIntent: string } | Refusal

/**
 * Creates a payment intent without confirming it, so that its id can be saved before money moves.
 *
 * @throws AppError `stripe_…` after an unknown outcome; a retry with the same key gets the same intent.
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
export async function createIntent(
  stripe: Stripe,
  params: IntentParams,
  idempotencyKey: string,
): Promise<CreateIntentResult> {
  try {
    const response = await stripe.paymentIntents.create(
      {
        amount: toStripeAmount(params.amount, params.currency),
        currency: params.currency.toLowerCase(),
        customer: params.customer,
        payment_method: params.paymentMethod,
        description: params.description,
        metadata: params.metadata,
        // The payer is not present, so payment methods that redirect the payer cannot work.
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
        ...(params.statementDescriptorSuffix === null
          ? {}
          : { statement_descriptor_suffix: params.statementDescriptorSuffix }),
      },
      { idempotencyKey },
    )
    const intent = parseStripeObject(paymentIntentObject, response, 'payment intent')
    return { kind: 'made', paymentIntent: intent.id }
  } catch (error) {
    return toRefusal(error)
  }
}

/**
 * Charges the intent's own payment method without the payer. Returns the error or null; the caller
 * fetches the intent to learn the outcome.
 *
 * The payment method is not sent again. A declined intent has no payment method any more, so a second
 * confirmation in flight cannot charge the card again.
 */
export async function confirmIntent(
  stripe: Stripe,
  paymentIntent: string,
  idempotencyKey: string,
): Promise<unknown> {
  try {
    await stripe.paymentIntents.confirm(paymentIntent, { off_session: true }, { idempotencyKey })
    return null
  } catch (error) {
    return toAppError(error)
  }
}

/**
 * Cancels an intent, so that it cannot be charged any more.
 *
 * @returns `charged` when it is paid or processing already.
 * @throws AppError `stripe_…`
 */
export async function closeIntent(
  stripe: Stripe,
  paymentIntent: string,
): Promise<'canceled' | 'charged'> {
  const before = await fetchEnd(stripe, paymentIntent)
  // A bank debit that is processing is not canceled, although Stripe may allow it.
  if (before !== null) return before
  try {
    await stripe.paymentIntents.cancel(paymentIntent)
    return 'canceled'
  } catch (error) {
    const after = isRefusal(error) ? await fetchEnd(stripe, paymentIntent) : null
    if (after !== null) return after
    throw toAppError(error)
  }
}

/** How the intent ended; null while it can still be charged. */
async function fetchEnd(stripe: Stripe, id: string): Promise<'canceled' | 'charged' | null> {
  const response = await callStripe(() => stripe.paymentIntents.retrieve(id))
  const { status } = parseStripeObject(paymentIntentObject, response, 'payment intent')
  if (status === 'canceled') return 'canceled'
  return status === 'processing' || status === 'succeeded' ? 'charged' : null
}
