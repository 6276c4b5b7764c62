import { amountStep, formatAmount, MAXIMUM_AMOUNT, minimumAmount } from '../core/currency.ts'
import { invalidParameter, type StripeError } from '../core/stripe-error.ts'

type Wording = { param: string; small(least: string): string; large(most: string): string }

const INTENT: Wording = {
  param: 'amount',
  small: (least) => `Amount must be at least ${least}`,
  large: (most) => `Amount must be no more than ${most}`,
}

const SESSION: Wording = {
  param: 'line_items',
  small: (least) => `The Checkout Session's total amount due must add up to at least ${least}`,
  large: (most) => `The Checkout Session's total amount due must be no more than ${most}.`,
}

/**
 * Why Stripe would not charge this amount, or null.
 *
 * @see https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
 */
export function amountProblem(
  amount: number,
  currency: string,
  kind: 'intent' | 'session',
): StripeError | null {
  const wording = kind === 'intent' ? INTENT : SESSION
  const least = minimumAmount(currency)
  if (amount > MAXIMUM_AMOUNT) {
    const most = formatAmount(MAXIMUM_AMOUNT, currency)
    return invalidParameter(wording.param, wording.large(most), 'amount_too_large')
  }
  if (amount < least) {
    const text = `${formatAmount(least, currency)} ${currency}`
    return invalidParameter(wording.param, wording.small(text), 'amount_too_small')
  }
  const step = amountStep(currency)
  if (amount % step === 0) return null
  return invalidParameter(
    wording.param,
    `Invalid amount: ${currency.toUpperCase()} amounts must be a multiple of ${step}.`,
  )
}
