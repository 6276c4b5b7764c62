import type Stripe from 'stripe'
import type { z } from 'zod'
import { callStripe, fetchOrNull } from './stripe-errors.ts'
import { balanceTransactionObject, parseStripeObject, payoutObject } from './stripe-objects.ts'

/** A transfer of money from the balance to the bank account. */
export type Payout = z.output<typeof payoutObject>

/** An entry of the balance of a Stripe account, with its source. */
export type BalanceTransaction = z.output<typeof balanceTransactionObject>

const parsePayout = (object: unknown) => parseStripeObject(payoutObject, object, 'payout')

/** A page of the account's payouts, newest first. @throws AppError as `callStripe`. */
export async function fetchPayouts(
  stripe: Stripe,
  params: Stripe.PayoutListParams,
): Promise<{ data: Payout[]; hasMore: boolean }> {
  const { data, has_more: hasMore } = await callStripe(() => stripe.payouts.list(params))
  return { data: data.map(parsePayout), hasMore }
}

/** Null if the account has no such payout. @throws AppError as `callStripe`. */
export async function fetchPayout(stripe: Stripe, id: string): Promise<Payout | null> {
  const object = await fetchOrNull(() => stripe.payouts.retrieve(id))
  return object === null ? null : parsePayout(object)
}

const PAGE_SIZE = 100

/** All balance transactions that match, newest first, page by page. @throws AppError as `callStripe`. */
export async function* fetchBalanceTransactions(
  stripe: Stripe,
  filter: Stripe.BalanceTransactionListParams,
): AsyncGenerator<BalanceTransaction[]> {
  let last: BalanceTransaction | undefined
  for (;;) {
    const after = last === undefined ? {} : { starting_after: last.id }
    const page = await callStripe(() =>
      stripe.balanceTransactions.list({
        ...filter,
        limit: PAGE_SIZE,
        expand: ['data.source'],
        ...after,
      }),
    )
    const objects = page.data.map((object) =>
      parseStripeObject(balanceTransactionObject, object, 'balance transaction'),
    )
    yield objects
    last = objects.at(-1)
    if (!page.has_more || last === undefined) return
  }
}
