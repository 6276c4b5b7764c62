import type { Db, Tx } from '../db/connect.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { RefundRequest } from '../payments/payment-records.ts'
import { insertRecordedRefund } from '../payments/recorded-payments.ts'
import {
  type ChosenRefund,
  chooseRefund,
  insertRefundRequest,
  type RefundInput,
  sendRefund,
} from '../payments/refund-payment.ts'
import type { Caller } from '../shared/caller.ts'
import { invalidField } from '../shared/errors.ts'
import { ID_PREFIXES, newId } from '../shared/ids.ts'
import { formatMoney } from '../shared/money.ts'
import { previewAlignment } from '../vouchers/freeze-vouchers.ts'
import { findReturnedVouchers } from '../vouchers/returned-vouchers.ts'
import { changePurchase, ownerOf, savePlan } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import {
  allowedActions,
  BulkPurchaseError,
  type PurchaseAggregate,
  type PurchaseRef,
  vouchersBeingReturned,
  vouchersReturnedBy,
  wrongState,
} from './purchase-aggregate.ts'
import type { Cause } from './purchase-history.ts'
import { getAggregate, lockAggregate } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

/** At most one of `amount`, `quantity` and `codes` is set. None: everything that is left of the payment. */
export type PurchaseRefundInput = RefundInput & {
  /** Refunds the price of this many vouchers. */
  quantity: number | null
  /** Refunds the price of these vouchers, which become inactive before others. */
  codes: string[] | null
}

/** What a refund would do now. */
export type RefundPreview = ChosenRefund & {
  currency: string
  /** How many vouchers would become inactive. */
  quantity: number
  /** Their codes, up to a limit. */
  codes: string[]
  /** How many more must become inactive, but are redeemed. */
  missing: number
}

/**
 * Stores a refund request, or books the refund of a recorded payment, which Stripe cannot refund. Vouchers
 * that the caller named are frozen from the request on.
 *
 * @returns the id of the request or of the booked refund.
 * @throws BulkPurchaseError `wrong_state` if nothing is left to refund, `voucher_redeemed`; `validation_failed`.
 */
export async function beginRefund(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  input: PurchaseRefundInput,
): Promise<string> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const before = await lockAggregate(trx, ref)
  const chosen = await choose(trx, before, input, 'lock')
  const { amount, payment, voucherIds } = chosen
  const { reason } = input
  const cause = { actor: caller.actor, cause: 'refund' }
  const requestedBy = caller.actor.id
  if (payment.isRecorded) {
    const refund = { id: newId('recordedRefund'), amount, reason, voucherIds }
    await insertRecordedRefund(trx, ref, refund, requestedBy)
    await savePlan(trx, planPurchase(before, { type: 'recorded_refund', refund }), cause)
    return refund.id
  }
  const id = newId('refundRequest')
  await insertRefundRequest(trx, ownerOf(ref), { ...chosen, id, reason, requestedBy })
  if (voucherIds.length > 0) await changePurchase(trx, ref, { type: 'refresh' }, cause)
  return id
}

/**
 * What `beginRefund` and Stripe's refund would do, if nothing happens in between. Writes and locks nothing.
 *
 * @throws the errors of `beginRefund`.
 */
export async function previewRefund(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  input: PurchaseRefundInput,
  maxCodes: number,
): Promise<RefundPreview> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const before = await getAggregate(trx, ref)
  const { voucherIds, ...chosen } = await choose(trx, before, input, 'read')
  const { target } = planRefunded(before, chosen, voucherIds)
  const { currency } = chosen.payment
  if (target === null) return { ...chosen, currency, quantity: 0, codes: [], missing: 0 }
  const { count, ...preview } = await previewAlignment(trx, ref, target, maxCodes)
  return { ...chosen, currency, quantity: count, ...preview }
}

const PREVIEW = { id: 'preview', reason: null }

/** The plan of the refund once it is complete. */
function planRefunded(
  before: PurchaseAggregate,
  { amount, payment: { paymentIntent, isRecorded, currency } }: ChosenRefund,
  voucherIds: number[],
) {
  if (isRecorded) {
    const refund = { ...PREVIEW, amount, voucherIds }
    return planPurchase(before, { type: 'recorded_refund', refund })
  }
  const request: RefundRequest = {
    ...PREVIEW,
    refundId: PREVIEW.id,
    refusal: null,
    state: 'accepted',
    paymentIntent,
    amount,
    voucherIds,
  }
  const records = { ...before.records, requests: [...before.records.requests, request] }
  const refund = {
    ...PREVIEW,
    paymentIntent,
    amount,
    currency,
    failureReason: null,
    refundedAt: null,
  }
  const snapshot = {
    sessions: [],
    payments: [],
    disputes: [],
    warnings: [],
    refunds: [{ ...refund, status: 'succeeded' as const }],
  }
  return planPurchase({ ...before, records }, { type: 'snapshot', snapshot })
}

async function choose(
  trx: Tx,
  aggregate: PurchaseAggregate,
  input: PurchaseRefundInput,
  access: 'lock' | 'read',
): Promise<ChosenRefund & { voucherIds: number[] }> {
  const { purchase, records } = aggregate
  const { unitAmount } = purchase
  const count = input.codes?.length ?? input.quantity
  const field = input.codes === null ? '/quantity' : '/codes'
  const tooMany = (left: number) => {
    const most = unitAmount === 0 ? 0 : Math.floor(left / unitAmount)
    return invalidField(field, `must be at most ${most}: the price of more is not left to refund`)
  }
  const chosen = chooseRefund(
    'purchase',
    records,
    purchase.paymentIntentId,
    count === null ? input : { ...input, amount: count * unitAmount },
    ...(count === null ? [] : [tooMany]),
  )
  if (chosen === null) throw wrongState('refund', purchase.status, allowedActions(aggregate, false))
  if (count !== null) assertReturns(aggregate, chosen, count, field)
  const { codes } = input
  if (codes === null) return { ...chosen, voucherIds: [] }
  const ref = { conferenceId: purchase.conferenceId, purchaseId: purchase.id }
  const returned = vouchersBeingReturned(aggregate)
  return { ...chosen, voucherIds: await findReturnedVouchers(trx, ref, codes, returned, access) }
}

/** Refuses to pay for vouchers that would stay active, or that have another price. */
function assertReturns(
  aggregate: PurchaseAggregate,
  { amount, payment }: ChosenRefund,
  count: number,
  field: string,
): void {
  const { status, currency } = aggregate.purchase
  if (status !== 'PAID') {
    const detail = `A refund of vouchers is not possible: the purchase is ${status}. Refund an amount.`
    throw new BulkPurchaseError('wrong_state', detail, { extra: { state: status } })
  }
  if (payment.currency !== currency) {
    const detail = `cannot be refunded from a payment in ${payment.currency}: the price is in ${currency}. Set amount.`
    throw invalidField(field, detail)
  }
  if (vouchersReturnedBy(aggregate, amount) >= count) return
  const detail = `More than the price is left of the payments, so a refund of ${formatMoney(amount, currency)} returns fewer than ${count} vouchers. Refund the surplus by amount first.`
  throw new BulkPurchaseError('wrong_state', detail, { extra: { state: status } })
}

const isBooked = (id: string) => id.startsWith(`${ID_PREFIXES.recordedRefund}_`)

/**
 * Sends the refund request to Stripe; see `sendRefund`. The vouchers follow from the snapshot. A booked refund
 * is complete.
 */
export async function finishRefund(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  request: { id: string; isRepeat: boolean },
  cause: Cause,
): Promise<void> {
  if (isBooked(request.id)) return
  const refundable = {
    owner: ownerOf(ref),
    load: async (trx: Tx) => (await getAggregate(trx, ref)).records,
    // The vouchers that the request named are released in the commit that refuses it.
    saved: async (trx: Tx, outcome: 'made' | 'refused') => {
      if (outcome === 'refused') await changePurchase(trx, ref, { type: 'refresh' }, cause)
    },
    reconcile: () => reconcilePurchase(deps, ref, cause),
  }
  await sendRefund(deps, refundable, request)
}
