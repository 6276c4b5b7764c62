import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import {
  type OutboundEvent,
  type OutboundEventType,
  publishEvent,
} from '../notifications/outbound-events.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import { newId } from '../shared/ids.ts'
import {
  deactivateAll,
  deactivateForRefund,
  freezeForDispute,
  freezeForRefund,
  reactivateVouchers,
} from '../vouchers/freeze-and-deactivate-vouchers.ts'
import { issueVouchers } from '../vouchers/issue-vouchers.ts'
import {
  loadAggregate,
  machineContext,
  type PurchaseAggregate,
  vouchersToDeactivate,
} from './purchase-aggregate.ts'
import type { PurchaseEmailKind } from './purchase-email.ts'
import { FLAG_OF_EVENT, raiseFlag, raiseSingleFlag } from './purchase-flags.ts'
import {
  decide,
  type PurchaseEffect,
  type PurchaseEvent,
  type PurchaseStatus,
} from './purchase-machine.ts'
import {
  appendTransition,
  type BulkPurchase,
  type Cause,
  lockPurchase,
  updatePurchase,
} from './purchase-store.ts'

export type TransitionResult =
  | { kind: 'refused'; status: PurchaseStatus }
  | { kind: 'applied'; from: PurchaseStatus; status: PurchaseStatus }

/**
 * The only writer of a purchase's status. Locks the row, asks the machine, and writes status,
 * history and every effect in the caller's transaction, so all of it happens or none.
 *
 * @returns `refused` when the machine has no such step from the present state; nothing is written.
 */
export async function transitionPurchase(
  trx: Tx,
  ref: PurchaseRef,
  event: PurchaseEvent,
  cause: Cause,
): Promise<TransitionResult> {
  const purchase = await lockPurchase(trx, ref)
  const known = await loadAggregate(trx, purchase)
  const decision = decide(purchase.status, machineContext(known), event)
  if (decision.kind === 'refused') return { kind: 'refused', status: purchase.status }

  await writeStatus(trx, ref, purchase.status, decision.status)
  await appendTransition(
    trx,
    ref,
    { from: purchase.status, to: decision.status, event: event.type },
    cause,
  )
  await updatePurchase(trx, ref, columnsAfter(event))
  for (const effect of decision.effects) {
    await effectPerformers[effect](trx, known, event)
  }
  const step = { from: purchase.status, to: decision.status, event }
  await publishPurchaseEvents(trx, await lockPurchase(trx, ref), step)
  return { kind: 'applied', from: purchase.status, status: decision.status }
}

/**
 * Fails a purchase that nobody paid. The machine refuses it while a payment may still arrive;
 * `CHECKOUT_EXPIRED` is also refused while an attempt is open.
 */
export function markFailed(
  trx: Tx,
  ref: PurchaseRef,
  reason: 'CANCELLED' | 'CHECKOUT_EXPIRED',
  cause: Cause,
): Promise<TransitionResult> {
  return transitionPurchase(trx, ref, { type: reason }, cause)
}

async function writeStatus(
  trx: Tx,
  ref: PurchaseRef,
  from: PurchaseStatus,
  to: PurchaseStatus,
): Promise<void> {
  const times =
    to === 'REFUNDED'
      ? { refunded_at: trx.raw('coalesce(refunded_at, now())') }
      : {
          refunded_at: null,
          ...(to === 'PAID' ? { paid_at: trx.raw('coalesce(paid_at, now())') } : {}),
        }
  const written = await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId, status: from })
    .update({ status: to, ...times, updated_at: trx.fn.now() })
  if (written !== 1)
    throw new Error(`Purchase ${ref.purchaseId} was not ${from} under its own lock`)
}

/** What else the row says after an event: the reason of a failure, the payment that paid it. */
function columnsAfter(event: PurchaseEvent): Parameters<typeof updatePurchase>[2] {
  switch (event.type) {
    case 'PAYMENT_SUCCEEDED':
      return { payment_intent_id: event.paymentIntent, failure_code: null, failure_message: null }
    case 'PAYMENT_FAILED':
      return { failure_code: event.failure.code, failure_message: event.failure.message }
    case 'CHECKOUT_EXPIRED':
      return { failure_code: 'checkout_expired', failure_message: 'The checkout expired unpaid.' }
    case 'CANCELLED':
      return { failure_code: 'cancelled', failure_message: 'The purchase was cancelled.' }
    case 'CHECKOUT_OPENED':
    case 'PAYMENT_PENDING':
      return { failure_code: null, failure_message: null }
    default:
      return {}
  }
}

type Performer = (trx: Tx, known: PurchaseAggregate, event: PurchaseEvent) => Promise<void>

const refOf = (purchase: BulkPurchase) => ({
  conferenceId: purchase.conferenceId,
  purchaseId: purchase.id,
})

async function codeLength(trx: Tx, conferenceId: string): Promise<number> {
  const row = await trx('conferences')
    .where({ id: conferenceId })
    .first<{ code_length: number } | undefined>('code_length')
  if (row === undefined) throw new Error(`Conference ${conferenceId} is gone`)
  return row.code_length
}

/** Makes the codes of a paid purchase; only those that are missing, so it may run again. */
export async function issuePurchaseVouchers(trx: Tx, purchase: BulkPurchase): Promise<number> {
  const { issued } = await issueVouchers(trx, {
    conferenceId: purchase.conferenceId,
    source: 'purchase',
    purchaseId: purchase.id,
    sponsorId: purchase.sponsorId,
    count: purchase.quantity,
    codeLength: await codeLength(trx, purchase.conferenceId),
    currency: purchase.currency,
    ticketTypeId: purchase.ticketTypeId,
    addOnId: purchase.addOnId,
    terms: purchase.terms,
    createdBy: purchase.requestedBy,
  })
  return issued
}

/** Freezes exactly the codes that the refunds under way would turn off, and thaws all others. */
const alignRefundFreeze: Performer = async (trx, { purchase, money }) => {
  const k = vouchersToDeactivate(purchase, money, money.net - money.refundPending)
  await freezeForRefund(trx, purchase.conferenceId, purchase.id, k)
}

const alignDisputeFreeze: Performer = async (trx, { purchase, money }) => {
  await freezeForDispute(trx, purchase.conferenceId, purchase.id, money.disputed)
}

const deactivateUnredeemed: Performer = async (trx, known, event) => {
  const { purchase, money } = known
  const k = vouchersToDeactivate(purchase, money, money.net)
  const { missing } = await deactivateForRefund(trx, purchase.conferenceId, purchase.id, k)
  if (missing > 0) {
    await raiseSingleFlag(trx, refOf(purchase), 'too_few_unredeemed', {
      fact: `off:${k}`,
      detail: `${k} codes should be off after the refunds, ${missing} of them were redeemed before.`,
    })
  }
  await alignRefundFreeze(trx, known, event)
}

/**
 * Who does what the machine names, on the locked row and in its transaction. A name without a
 * performer does not compile.
 */
const effectPerformers = {
  issueVouchers: async (trx, { purchase }) => {
    await issuePurchaseVouchers(trx, purchase)
  },
  flagForStaff: async (trx, { purchase }, event) => {
    if (!('flag' in event)) throw new Error(`${event.type} raises no flag`)
    await raiseFlag(trx, refOf(purchase), FLAG_OF_EVENT[event.type], event.flag)
  },
  recordDecline: async (trx, { purchase }, event) => {
    if (event.type !== 'PAYMENT_DECLINED') throw new Error(`${event.type} is no decline`)
    const { code, message } = event.failure
    await updatePurchase(trx, refOf(purchase), { failure_code: code, failure_message: message })
  },
  freezeForRefund: alignRefundFreeze,
  unfreezeAfterRefund: alignRefundFreeze,
  freezeForDispute: alignDisputeFreeze,
  unfreezeAfterDispute: alignDisputeFreeze,
  deactivateUnredeemed,
  deactivateVouchers: async (trx, { purchase }) => {
    await deactivateAll(trx, purchase.conferenceId, purchase.id)
  },
  reactivateVouchers: async (trx, { purchase }) => {
    await reactivateVouchers(trx, purchase.conferenceId, purchase.id)
  },
} satisfies Record<PurchaseEffect, Performer>

/** A step that the machine has taken. */
export type Transition = { from: PurchaseStatus; to: PurchaseStatus; event: PurchaseEvent }

type OutgoingPurchaseEvent = { type: OutboundEventType; more?: OutboundEvent['data'] }

/** What of a step others want to know. Codes are announced by vouchers/, which makes them. */
function outgoingEventsOf({ from, to, event }: Transition): OutgoingPurchaseEvent[] {
  const news: OutgoingPurchaseEvent[] = []
  if (event.type === 'DISPUTE_OPENED') {
    news.push({ type: 'purchase.disputed', more: { dispute: event.flag.fact } })
  }
  if (event.type === 'DISPUTE_WON' || event.type === 'DISPUTE_LOST') {
    const outcome = event.type === 'DISPUTE_WON' ? 'won' : 'lost'
    news.push({ type: 'purchase.dispute_closed', more: { outcome } })
  }
  if (event.type === 'PARTIALLY_REFUNDED') news.push({ type: 'purchase.partially_refunded' })
  if (event.type === 'REFUND_FAILED') {
    news.push({ type: 'purchase.refund_failed', more: { refund: event.flag.fact } })
  }
  if (event.type === 'REINSTATED') news.push({ type: 'purchase.reinstated' })
  else if (to === 'PAID' && from !== 'PAID') news.push({ type: 'purchase.paid' })
  if (to === 'FAILED' && from !== 'FAILED') news.push({ type: 'purchase.failed' })
  if (to === 'REFUNDED' && from !== 'REFUNDED') news.push({ type: 'purchase.refunded' })
  return news
}

/** What the sponsor's contact is written of, too. */
const EMAIL_OF_EVENT: Partial<Record<OutboundEventType, PurchaseEmailKind>> = {
  'purchase.paid': 'codes_ready',
  'purchase.reinstated': 'codes_ready',
  'purchase.failed': 'failed',
  'purchase.partially_refunded': 'partially_refunded',
  'purchase.refunded': 'refunded',
  'purchase.disputed': 'disputed',
}

/** Tells others of a step, in its own transaction. `purchase` is the row after it. */
async function publishPurchaseEvents(
  trx: Tx,
  purchase: BulkPurchase,
  step: Transition,
): Promise<void> {
  for (const { type, more } of outgoingEventsOf(step)) {
    await publishEvent(trx, {
      conferenceId: purchase.conferenceId,
      type,
      data: { ...eventData(purchase), ...more },
    })
    const kind = EMAIL_OF_EVENT[type]
    if (kind !== undefined && purchase.sponsorId !== null) {
      await addJob(trx, 'mail_purchase', {
        conference_id: purchase.conferenceId,
        purchase_id: purchase.id,
        kind,
        // Named here, once: every try sends the same mail.
        message: newId('mail'),
      })
    }
  }
}

function eventData(purchase: BulkPurchase): OutboundEvent['data'] {
  return {
    purchase: purchase.id,
    status: purchase.status,
    sponsor: purchase.sponsorId,
    reference: purchase.reference,
    quantity: purchase.quantity,
    total_amount: purchase.totalAmount,
    amount_received: purchase.amountReceived,
    amount_refunded: purchase.amountRefunded,
    currency: purchase.currency,
    failure_code: purchase.failure?.code ?? null,
  }
}
