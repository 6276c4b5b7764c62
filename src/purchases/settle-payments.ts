import type { Tx } from '../db/connect.ts'
import { formatMoney } from '../shared/money.ts'
import { advance } from './advance-purchase.ts'
import type { BulkPurchase, PurchaseRef } from './bulk-purchase.ts'
import { loadBalances, type PaymentBalance } from './payment-store.ts'
import { knownFacts } from './purchase-flags.ts'
import type { Cause } from './purchase-history.ts'
import { lockPurchase } from './purchase-store.ts'

/**
 * What happens when money arrives. Each payment that Stripe has received is, in the order of the
 * attempts: the one that pays the purchase, a second one, or one of another amount that staff must
 * look at.
 *
 * @returns whether the purchase became PAID by it.
 */
export async function settlePayments(trx: Tx, ref: PurchaseRef, cause: Cause): Promise<boolean> {
  const flagged = await knownFacts(trx, ref)
  let becamePaid = false
  for (const payment of await loadBalances(trx, ref)) {
    const purchase = await lockPurchase(trx, ref)
    if (payment.received === 0 || payment.paymentIntent === purchase.paymentIntentId) continue
    if (purchase.status === 'PAID' || purchase.status === 'REFUNDED') {
      if (!isFlagged(flagged, payment)) await flagSecond(trx, ref, payment, cause)
      continue
    }
    if (await pay(trx, ref, purchase, payment, cause)) becamePaid = true
    else if (!isFlagged(flagged, payment)) await flagMismatch(trx, ref, purchase, payment, cause)
  }
  return becamePaid
}

function isFlagged(flagged: Set<string>, { paymentIntent }: PaymentBalance): boolean {
  return flagged.has(`overpaid:${paymentIntent}`) || flagged.has(`amount_mismatch:${paymentIntent}`)
}

async function pay(
  trx: Tx,
  ref: PurchaseRef,
  purchase: BulkPurchase,
  payment: PaymentBalance,
  cause: Cause,
): Promise<boolean> {
  const step = await advance(
    trx,
    ref,
    {
      type: 'PAYMENT_SUCCEEDED',
      paymentIntent: payment.paymentIntent,
      amount: payment.received,
      currency: payment.currency,
      accepted: purchase.accepted?.paymentIntentId === payment.paymentIntent,
    },
    cause,
  )
  return step.kind === 'applied'
}

async function flagSecond(trx: Tx, ref: PurchaseRef, payment: PaymentBalance, cause: Cause) {
  const detail = `A second payment ${payment.paymentIntent} of ${formatMoney(payment.received, payment.currency)} arrived. Refund one of them.`
  await advance(
    trx,
    ref,
    { type: 'SECOND_PAYMENT', flag: { fact: payment.paymentIntent, detail } },
    cause,
  )
}

async function flagMismatch(
  trx: Tx,
  ref: PurchaseRef,
  purchase: BulkPurchase,
  payment: PaymentBalance,
  cause: Cause,
) {
  const expected = formatMoney(purchase.totalAmount, purchase.currency)
  const detail = `Payment ${payment.paymentIntent} brought ${formatMoney(payment.received, payment.currency)} instead of ${expected}. No codes were made: accept it or refund it.`
  await advance(
    trx,
    ref,
    { type: 'PAYMENT_MISMATCHED', flag: { fact: payment.paymentIntent, detail } },
    cause,
  )
}
