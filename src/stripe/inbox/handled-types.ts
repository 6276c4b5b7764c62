/**
 * Events that tell us to look at a purchase, a charge or a customer's cards. Every other type concerns
 * the mirror at most.
 * @see https://docs.stripe.com/api/events/types
 */
export const HANDLED_TYPES: readonly string[] = [
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'checkout.session.expired',
  'payment_intent.succeeded',
  'payment_intent.payment_failed',
  'payment_intent.partially_funded',
  'charge.refunded',
  'refund.created',
  'refund.updated',
  'refund.failed',
  'charge.dispute.created',
  'charge.dispute.updated',
  'charge.dispute.closed',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  'radar.early_fraud_warning.created',
  'payment_method.attached',
]

const handled: ReadonlySet<string> = new Set(HANDLED_TYPES)

export function isHandledType(type: string): boolean {
  return handled.has(type)
}

/** Only then are Radar's warnings read: it is one more list for each payment. */
export function isWarningType(type: string): boolean {
  return type === 'radar.early_fraud_warning.created'
}

export function isSessionType(type: string): boolean {
  return type.startsWith('checkout.session.')
}
