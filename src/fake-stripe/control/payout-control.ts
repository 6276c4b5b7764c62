import type Stripe from 'stripe'
import type { World } from '../core/world.ts'
import { failPayout, settlePayout } from '../payouts/end-payout.ts'
import { payOutBalance } from '../payouts/pay-out.ts'
import type { AccountReference } from './account-control.ts'
import { findAccount, handScope, ownerOf } from './find-object.ts'

/** What Stripe's payout schedule and the merchant's bank do. */
export type PayoutControl = {
  /**
   * An automatic payout, in transit, of all that came in and no earlier one took.
   *
   * @param currency default: the account's own.
   * @throws NotPossible when there is nothing to pay out.
   */
  payOut(account: AccountReference, currency?: string): Stripe.Payout
  /** The money arrived. @throws NotPossible when the payout has ended. */
  settlePayout(payout: string): Stripe.Payout
  /**
   * The bank sent the money back, also after it arrived.
   *
   * @param code default `account_closed`.
   * @throws NotPossible when the payout failed already or was canceled.
   */
  failPayout(payout: string, code?: string): Stripe.Payout
}

export function payoutControl(world: World): PayoutControl {
  return {
    payOut(reference, currency) {
      const account = findAccount(world, reference)
      return payOutBalance(
        handScope(world, account),
        (currency ?? account.profile.defaultCurrency).toLowerCase(),
      )
    },
    settlePayout: (payout) => settlePayout(ownerOf(world, payout).scope, payout),
    failPayout: (payout, code = 'account_closed') =>
      failPayout(ownerOf(world, payout).scope, payout, code),
  }
}
