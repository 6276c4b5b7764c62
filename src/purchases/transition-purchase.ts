import { getConference } from '../conferences/conference-store.ts'
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
 * The only writer of a purchase's status. Locks the row, asks the machine, and writes the status, the
 * history and all effects in the caller's transaction.
 *
 * @returns `refused` if the machine has no such transition from the current status; nothing is written.
 */
export async function transitionPurchase(
  trx: Tx,
  ref: PurchaseRef,
  event: PurchaseEvent,
  cause: Cause,
): Promise<TransitionResult> {
  const purchase = await lockPurchase(trx, ref)
  const aggregate = await loadAggregate(trx, purchase)
  const decision = decide(purchase.status, machineContext(aggregate), event)
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
    await effectPerformers[effect](trx, aggregate, event)
  }
  const transition = { from: purchase.status, to: decision.status, event }
  await publishPurchaseEvents(trx, await lockPurchase(trx, ref), transition)
  return { kind: 'applied', from: purchase.status, status: decision.status }
}

/**
 * Fails an unpaid purchase. The machine refuses it while a payment may still arrive;
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
  if (written !== 1) {
    throw new Error(`Purchase ${ref.purchaseId} was not ${from} although it is locked`)
  }
}

/** What else an event writes on the row: the reason of a failure, or the payment that paid it. */
function columnsAfter(event: PurchaseEvent): Parameters<typeof updatePurchase>[2] {
  switch (event.type) {
    case 'PAYMENT_SUCCEEDED':
      return { payment_intent_id: event.paymentIntent, failure_code: null, failure_message: null }
    case 'PAYMENT_FAILED':
      return { failure_code: event.failure.code, failure_message: event.failure.message }
    case 'CHECKOUT_EXPIRED':
      return {
        failure_code: 'checkout_expired',
        failure_message: 'The checkout expired before it was paid.',
      }
    case 'CANCELLED':
      return { failure_code: 'cancelled', failure_message: 'The purchase was cancelled.' }
    case 'CHECKOUT_OPENED':
    case 'PAYMENT_PENDING':
      return { failure_code: null, failure_message: null }
    default:
      return {}
  }
}

type Performer = (trx: Tx, aggregate: PurchaseAggregate, event: PurchaseEvent) => Promise<void>

const refOf = (purchase: BulkPurchase) => ({
  conferenceId: purchase.conferenceId,
  purchaseId: purchase.id,
})

/** Issues the vouchers that a paid purchase lacks. Safe to repeat. Returns how many it issued. */
export async function issuePurchaseVouchers(trx: Tx, purchase: BulkPurchase): Promise<number> {
  const { codeLength } = await getConference(trx, purchase.conferenceId)
  const { issued } = await issueVouchers(trx, {
    conferenceId: purchase.conferenceId,
    source: 'purchase',
    purchaseId: purchase.id,
    sponsorId: purchase.sponsorId,
    count: purchase.quantity,
    codeLength,
    currency: purchase.currency,
    ticketTypeId: purchase.ticketTypeId,
    addOnId: purchase.addOnId,
    terms: purchase.terms,
    createdBy: purchase.requestedBy,
  })
  return issued
}

/** Freezes exactly the vouchers that the pending refunds would deactivate, and releases all others. */
const alignRefundFreeze: Performer = async (trx, { purchase, money }) => {
  const k = vouchersToDeactivate(purchase, money, money.net - money.refundPending)
  await freezeForRefund(trx, purchase.conferenceId, purchase.id, k)
}

const alignDisputeFreeze: Performer = async (trx, { purchase, money }) => {
  await freezeForDispute(trx, purchase.conferenceId, purchase.id, money.disputed)
}

const deactivateUnredeemed: Performer = async (trx, aggregate, event) => {
  const { purchase, money } = aggregate
  const k = vouchersToDeactivate(purchase, money, money.net)
  const { missing } = await deactivateForRefund(trx, purchase.conferenceId, purchase.id, k)
  if (missing > 0) {
    await raiseSingleFlag(trx, refOf(purchase), 'too_few_unredeemed', {
      fact: `off:${k}`,
      detail: `Refunds require ${k} inactive vouchers, but ${missing} of them cannot be deactivated because they are redeemed. Decide with the sponsor what to do.`,
    })
  }
  await alignRefundFreeze(trx, aggregate, event)
}

/**
 * What each effect of the machine does, on the locked row and in its transaction. An effect without a
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

/** A transition that was written. */
type Transition = { from: PurchaseStatus; to: PurchaseStatus; event: PurchaseEvent }

type OutgoingPurchaseEvent = { type: OutboundEventType; more?: OutboundEvent['data'] }

/** The outbound webhook events of a transition. vouchers/ publishes those about vouchers. */
function outgoingEventsOf({ from, to, event }: Transition): OutgoingPurchaseEvent[] {
  const events: OutgoingPurchaseEvent[] = []
  if (event.type === 'DISPUTE_OPENED') {
    events.push({ type: 'purchase.disputed', more: { dispute: event.flag.fact } })
  }
  if (event.type === 'DISPUTE_WON' || event.type === 'DISPUTE_LOST') {
    const outcome = event.type === 'DISPUTE_WON' ? 'won' : 'lost'
    events.push({ type: 'purchase.dispute_closed', more: { outcome } })
  }
  if (event.type === 'PARTIALLY_REFUNDED') events.push({ type: 'purchase.partially_refunded' })
  if (event.type === 'REFUND_FAILED') {
    events.push({ type: 'purchase.refund_failed', more: { refund: event.flag.fact } })
  }
  if (event.type === 'REINSTATED') events.push({ type: 'purchase.reinstated' })
  else if (to === 'PAID' && from !== 'PAID') events.push({ type: 'purchase.paid' })
  if (to === 'FAILED' && from !== 'FAILED') events.push({ type: 'purchase.failed' })
  if (to === 'REFUNDED' && from !== 'REFUNDED') events.push({ type: 'purchase.refunded' })
  return events
}

/** The events that the sponsor's contact also gets an e-mail about. */
const EMAIL_OF_EVENT: Partial<Record<OutboundEventType, PurchaseEmailKind>> = {
  'purchase.paid': 'codes_ready',
  'purchase.reinstated': 'codes_ready',
  'purchase.failed': 'failed',
  'purchase.partially_refunded': 'partially_refunded',
  'purchase.refunded': 'refunded',
  'purchase.disputed': 'disputed',
}

/** Publishes a transition in its own transaction. `purchase` is the row after it. */
async function publishPurchaseEvents(
  trx: Tx,
  purchase: BulkPurchase,
  transition: Transition,
): Promise<void> {
  for (const { type, more } of outgoingEventsOf(transition)) {
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
        // Set here, once: every retry sends the e-mail under the same id.
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
