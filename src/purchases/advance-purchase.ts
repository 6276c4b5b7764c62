import type { Tx } from '../db/connect.ts'
import { announceStep } from './announce-step.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { contextOf, loadCase } from './purchase-context.ts'
import { effectPerformers } from './purchase-effects.ts'
import { appendTransition, type Cause } from './purchase-history.ts'
import { decide, type PurchaseEvent, type PurchaseStatus } from './purchase-machine.ts'
import { lockPurchase, updatePurchase } from './purchase-store.ts'

export type Advance =
  | { kind: 'refused'; status: PurchaseStatus }
  | { kind: 'applied'; from: PurchaseStatus; status: PurchaseStatus }

/**
 * The only writer of a purchase's status. Locks the row, asks the machine, and writes status,
 * history and every effect in the caller's transaction, so all of it happens or none.
 *
 * @returns `refused` when the machine has no such step from the present state; nothing is written.
 */
export async function advance(
  trx: Tx,
  ref: PurchaseRef,
  event: PurchaseEvent,
  cause: Cause,
): Promise<Advance> {
  const purchase = await lockPurchase(trx, ref)
  const known = await loadCase(trx, purchase)
  const decision = decide(purchase.status, contextOf(known), event)
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
  await announceStep(trx, await lockPurchase(trx, ref), step)
  return { kind: 'applied', from: purchase.status, status: decision.status }
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
