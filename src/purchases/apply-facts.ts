import type { Tx } from '../db/connect.ts'
import { advance } from './advance-purchase.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { listAttempts } from './checkout-attempt.ts'
import type { PaymentFacts } from './payment-facts.ts'
import { loadKnownMoney, savePayments } from './payment-store.ts'
import { loadCase } from './purchase-context.ts'
import { knownFacts } from './purchase-flags.ts'
import type { Cause } from './purchase-history.ts'
import { lockPurchase } from './purchase-store.ts'
import { saveCards } from './save-cards.ts'
import { type AttemptNews, saveSessions } from './save-sessions.ts'
import { saveTotals } from './save-totals.ts'
import { settleMoney } from './settle-money.ts'
import { settlePayments } from './settle-payments.ts'

/**
 * Turns one reading of Stripe into business facts, in the order in which they happen, and lets the
 * machine decide on each. Runs under the purchase's lock; applying the same reading again changes
 * nothing.
 */
export async function applyFacts(
  trx: Tx,
  ref: PurchaseRef,
  facts: PaymentFacts,
  cause: Cause,
): Promise<void> {
  const known = await loadKnownMoney(trx, ref)
  const attempts = await listAttempts(trx, ref)
  await savePayments(trx, ref, facts)
  const news = [
    ...(await saveSessions(trx, ref, attempts, facts)),
    ...(await saveCards(trx, ref, attempts, facts)),
  ]
  await saveTotals(trx, ref)

  await tellCheckout(trx, ref, news, cause)
  const becamePaid = await settlePayments(trx, ref, cause)
  // What was known before the purchase was paid has had no effect yet, so all of it is news now.
  await settleMoney(
    trx,
    ref,
    becamePaid ? { refunds: new Map(), disputes: new Map() } : known,
    cause,
  )
  await tellWarnings(trx, ref, facts, cause)
  await tellEnd(trx, ref, news, cause)
}

async function tellCheckout(
  trx: Tx,
  ref: PurchaseRef,
  news: AttemptNews[],
  cause: Cause,
): Promise<void> {
  for (const { opened, pending, decline } of news) {
    if (opened) await advance(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
    if (pending) await advance(trx, ref, { type: 'PAYMENT_PENDING' }, cause)
    if (decline !== null)
      await advance(trx, ref, { type: 'PAYMENT_DECLINED', failure: decline }, cause)
  }
}

async function tellWarnings(
  trx: Tx,
  ref: PurchaseRef,
  facts: PaymentFacts,
  cause: Cause,
): Promise<void> {
  const flagged = await knownFacts(trx, ref)
  for (const warning of facts.warnings) {
    if (flagged.has(`early_fraud_warning:${warning.id}`)) continue
    const detail = `The bank warns of fraud (${warning.fraudType}) on ${warning.paymentIntent}.`
    await advance(trx, ref, { type: 'FRAUD_WARNED', flag: { fact: warning.id, detail } }, cause)
  }
}

/**
 * A purchase whose tries are all over has failed. Asked of the state and not of the news, so that a
 * purchase left PROCESSING by a crash between two commits is found by the next reading.
 */
async function tellEnd(
  trx: Tx,
  ref: PurchaseRef,
  news: AttemptNews[],
  cause: Cause,
): Promise<void> {
  const { purchase, attempts, balances } = await loadCase(trx, await lockPurchase(trx, ref))
  const isUnpaid = purchase.status === 'PROCESSING' || purchase.status === 'PENDING'
  if (!isUnpaid || !attempts.some(({ state }) => state === 'expired' || state === 'complete'))
    return
  const failure =
    news.find(({ failed }) => failed !== null)?.failed ??
    (balances.some(({ received }) => received > 0)
      ? { code: 'payment_refunded', message: 'The payment was refunded in full.' }
      : null)
  if (failure !== null) await advance(trx, ref, { type: 'PAYMENT_FAILED', failure }, cause)
  // Refused by the machine while anything is open, pending or paid, and after PAYMENT_FAILED.
  await advance(trx, ref, { type: 'CHECKOUT_EXPIRED' }, cause)
}
