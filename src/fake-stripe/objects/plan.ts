import type Stripe from 'stripe'
import type { WirePrice } from './price.ts'

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
export type WirePlan = Omit<Stripe.Plan, 'amount_decimal'> & { amount_decimal: string | null }

/**
 * A recurring price as the older Plans API shows it.
 *
 * @throws Error when the price does not recur: only those that do are plans too.
 * @see https://docs.stripe.com/api/plans
 */
export function planOf(price: WirePrice): WirePlan {
  const { recurring } = price
  if (!recurring) throw new Error(`${price.id} is no plan`)
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: recurring.interval,
    interval_count: recurring.interval_count,
    livemode: price.livemode,
    metadata: price.metadata,
    meter: recurring.meter,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: price.tiers_mode,
    transform_usage: price.transform_quantity,
    trial_period_days: recurring.trial_period_days,
    usage_type: recurring.usage_type,
  }
}
