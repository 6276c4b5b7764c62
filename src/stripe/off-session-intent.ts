import type Stripe from 'stripe'
import { toStripeAmount } from '../shared/money.ts'
import { isStoredError } from './stripe-checkout.ts'
import { isRefusal, refusalMessage, toAppError } from './stripe-errors.ts'
import { parseStripeObject, paymentIntentObject } from './stripe-objects.ts'

type Metadata = Record<string, string>

export type IntentParams = {
  /** Minor units of `currency`. */
  amount: number
  currency: string
  customer: string
  paymentMethod: string
  description: string
  statementDescriptorSuffix: string | null
  metadata: Metadata
}

/**
 * `refused`: Stripe will not make it, or keeps an error under this key. An intent that nobody
 * confirms charges nothing, so it does not matter whether there is one all the same.
 */
export type CreateIntentResult =
  | { kind: 'made'; paymentIntent: string }
  | { kind: 'refused'; message: string; storedError: boolean }

/**
 * Makes a payment intent that is not confirmed yet: its id can be noted before any money moves.
 *
 * @throws AppError `stripe_…` after an unknown outcome; a repeat gets the same intent.
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
export async function createIntent(
  stripe: Stripe,
  order: IntentParams,
  idempotencyKey: string,
): Promise<CreateIntentResult> {
  try {
    const answer = await stripe.paymentIntents.create(
      {
        amount: toStripeAmount(order.amount, order.currency),
        currency: order.currency.toLowerCase(),
        customer: order.customer,
        payment_method: order.paymentMethod,
        description: order.description,
        metadata: order.metadata,
        // A way to pay that leads the payer elsewhere is of no use where there is no payer.
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
        ...(order.statementDescriptorSuffix === null
          ? {}
          : { statement_descriptor_suffix: order.statementDescriptorSuffix }),
      },
      { idempotencyKey },
    )
    return {
      kind: 'made',
      paymentIntent: parseStripeObject(paymentIntentObject, answer, 'intent').id,
    }
  } catch (error) {
    if (isStoredError(error)) {
      return { kind: 'refused', message: refusalMessage(error), storedError: true }
    }
    if (isRefusal(error)) {
      return { kind: 'refused', message: refusalMessage(error), storedError: false }
    }
    throw toAppError(error)
  }
}

/**
 * Charges the intent's own payment method, without the payer. What came of it is for a reading of
 * the intent to say: returned is only the error, if there was one.
 *
 * The payment method is not sent again: after a decline the intent has none any more, so a second
 * confirmation that is on its way cannot try the card once more.
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
 * Makes sure that nobody can charge the intent any more, or tells that it was charged.
 *
 * @throws AppError `stripe_…`
 */
export async function closeIntent(
  stripe: Stripe,
  paymentIntent: string,
): Promise<'canceled' | 'charged'> {
  try {
    const before = await fetchIntent(stripe, paymentIntent)
    if (before.status === 'canceled') return 'canceled'
    // Stripe may cancel a debit that is under way; money that is coming is not sent away.
    if (before.status === 'processing' || before.status === 'succeeded') return 'charged'
    await stripe.paymentIntents.cancel(paymentIntent)
    return 'canceled'
  } catch (error) {
    if (!isRefusal(error)) throw toAppError(error)
    const { status } = await fetchIntent(stripe, paymentIntent)
    if (status === 'canceled') return 'canceled'
    if (status === 'processing' || status === 'succeeded') return 'charged'
    throw toAppError(error)
  }
}

async function fetchIntent(stripe: Stripe, id: string) {
  try {
    const answer = await stripe.paymentIntents.retrieve(id)
    return parseStripeObject(paymentIntentObject, answer, 'payment intent')
  } catch (error) {
    throw toAppError(error)
  }
}
