import type Stripe from 'stripe'
import {
  type SubscriptionStatus,
  setSubscriptionStatus,
} from '../billing/set-subscription-status.ts'
import type { World } from '../core/world.ts'
import type { WireSubscription } from '../objects/subscription.ts'
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
   * Puts a subscription into any state, with the events that tell of it.
   *
   * @throws NotPossible when there is none.
   */
  setSubscriptionStatus(subscription: string, status: SubscriptionStatus): WireSubscription
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
    setSubscriptionStatus: (subscription, status) =>
      setSubscriptionStatus(scopeOf(subscription), subscription, status),
    authenticate: (intent, outcome = 'passed') =>
      authenticateSetup(scopeOf(intent), intent, outcome === 'passed'),
  }
}
