import type Stripe from 'stripe'
import type { World } from '../core/world.ts'
import { type CardRenewal, renewCard } from '../payments/change-payment-method.ts'
import { authenticateSetup } from '../payments/confirm-setup.ts'
import { ownerOf } from './find-object.ts'

/** What card networks, banks and time do to saved cards and subscriptions. */
export type BillingControl = {
  /**
   * The network replaced a saved card: `payment_method.automatically_updated`.
   *
   * @throws NotPossible when the payment method is no card.
   */
  renewCard(paymentMethod: string, renewal?: CardRenewal): Stripe.PaymentMethod
  /**
   * The payer passed (default) or failed the bank's authentication of a setup intent.
   *
   * @throws NotPossible when the intent waits for none.
   */
  authenticate(setupIntent: string, outcome?: 'passed' | 'failed'): Stripe.SetupIntent
}

export function billingControl(world: World): BillingControl {
  const scopeOf = (id: string) => ownerOf(world, id).scope
  return {
    renewCard: (method, renewal = {}) => renewCard(scopeOf(method), method, renewal),
    authenticate: (intent, outcome = 'passed') =>
      authenticateSetup(scopeOf(intent), intent, outcome === 'passed'),
  }
}
