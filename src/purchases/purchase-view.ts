import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import type { Caller } from '../http/caller.ts'
import { toTimestamp } from '../http/common-schemas.ts'
import { notFound } from '../shared/errors.ts'
import { countVouchers, type VoucherCounts } from '../vouchers/voucher-counts.ts'
import { toVoucherConfig } from '../vouchers/voucher-terms.ts'
import { allowedActions } from './allowed-actions.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import type { CheckoutAttempt } from './checkout-attempt.ts'
import { loadCases, type PurchaseCase } from './purchase-context.ts'
import { openFlags, type PurchaseFlag } from './purchase-flags.ts'
import type { purchaseSchema } from './purchase-schemas.ts'
import { findPurchase } from './purchase-store.ts'

export type PurchaseBody = z.infer<typeof purchaseSchema>

const NO_VOUCHERS: VoucherCounts = {
  issued: 0,
  active: 0,
  frozen: 0,
  deactivated: 0,
  redeemed: 0,
  remaining: 0,
}

function toCheckout(attempt: CheckoutAttempt | undefined): PurchaseBody['checkout'] {
  if (attempt?.kind !== 'checkout') return null
  return {
    session_id: attempt.sessionId,
    url: attempt.state === 'open' ? attempt.url : null,
    expires_at: toTimestamp(attempt.expiresAt),
    attempt: attempt.attempt,
  }
}

function toBody(
  known: PurchaseCase,
  vouchers: VoucherCounts,
  flags: PurchaseFlag[],
  isSponsor: boolean,
): PurchaseBody {
  const { purchase } = known
  return {
    id: purchase.id,
    object: 'bulk_purchase',
    conference: purchase.conferenceId,
    sponsor: purchase.sponsorId,
    status: purchase.status,
    quantity: purchase.quantity,
    unit_amount: purchase.unitAmount,
    total_amount: purchase.totalAmount,
    amount_received: purchase.amountReceived,
    amount_refunded: purchase.amountRefunded,
    currency: purchase.currency,
    description: purchase.description,
    reference: purchase.reference,
    ticket_type: purchase.ticketTypeId,
    add_on: purchase.addOnId,
    voucher_config: toVoucherConfig(purchase.terms),
    checkout: toCheckout(known.attempts.at(-1)),
    payment_intent: purchase.paymentIntentId,
    failure: purchase.failure,
    vouchers,
    flags: flags.map(({ code, detail, raised_at }) => ({
      code,
      detail,
      raised_at: toTimestamp(raised_at),
    })),
    allowed_actions: allowedActions(known, flags.length > 0, isSponsor),
    requested_by: purchase.requestedBy,
    approved_by: purchase.approvedBy,
    created_at: toTimestamp(purchase.createdAt),
    updated_at: toTimestamp(purchase.updatedAt),
    paid_at: toTimestamp(purchase.paidAt),
    refunded_at: toTimestamp(purchase.refundedAt),
  }
}

/** Purchases as the API shows them, in a fixed number of queries however many there are. */
export async function viewPurchases(
  trx: Tx,
  caller: Caller,
  purchases: BulkPurchase[],
): Promise<PurchaseBody[]> {
  const ids = purchases.map(({ id }) => id)
  const counts = await countVouchers(trx, caller.conferenceId, ids)
  const flags = await openFlags(trx, caller.conferenceId, ids)
  const cases = await loadCases(trx, caller.conferenceId, purchases)
  return cases.map((known) => {
    const { id } = known.purchase
    const isSponsor = caller.sponsorId !== null
    return toBody(known, counts.get(id) ?? NO_VOUCHERS, flags.get(id) ?? [], isSponsor)
  })
}

/** One purchase. @throws AppError `not_found`, also when it is another sponsor's. */
export async function viewPurchase(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
): Promise<PurchaseBody> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const purchase = await findPurchase(trx, ref, caller.sponsorId)
  const [body] = purchase === null ? [] : await viewPurchases(trx, caller, [purchase])
  if (body === undefined) throw notFound('purchase')
  return body
}
