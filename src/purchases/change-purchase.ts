import type { Tx } from '../db/connect.ts'
import { PREPARED } from '../db/pipeline.ts'
import { addJob } from '../jobs/job-queue.ts'
import {
  type OutboundEvent,
  type OutboundEventType,
  publishEvent,
} from '../notifications/outbound-events.ts'
import { isPayable } from '../payments/attempt-machine.ts'
import type { PaymentOwner } from '../payments/payment-records.ts'
import { recordChanges } from '../payments/plan-records.ts'
import {
  expectedRows,
  type SavePart,
  saveRecordsParts,
  writtenRows,
} from '../payments/save-records.ts'
import { newId } from '../shared/ids.ts'
import {
  alignVouchers,
  isSameTarget,
  NO_TARGET,
  type VoucherTarget,
} from '../vouchers/freeze-vouchers.ts'
import { issueVouchers } from '../vouchers/issue-vouchers.ts'
import {
  type PurchaseInput,
  type PurchasePlan,
  planPurchase,
  type Transition,
} from './plan-purchase.ts'
import {
  type BulkPurchase,
  isPaid,
  type PurchaseAggregate,
  type PurchaseRef,
  type StoredTarget,
  targetOf,
} from './purchase-aggregate.ts'
import type { PurchaseEmailKind } from './purchase-email.ts'
import { raiseSingleFlag, withdrawFlag } from './purchase-flags.ts'
import { type Cause, transitionsPart } from './purchase-history.ts'
import type { PurchaseEvent, PurchaseStatus } from './purchase-machine.ts'
import { lockAggregate } from './purchase-store.ts'

/** Names the purchase as the owner of its payments. */
export const ownerOf = ({ conferenceId, purchaseId }: PurchaseRef): PaymentOwner => ({
  conferenceId,
  kind: 'purchase',
  id: purchaseId,
})

/**
 * Changes a purchase: loads it under its lock, plans without I/O, and saves the plan in the caller's
 * transaction.
 */
export async function changePurchase(
  trx: Tx,
  ref: PurchaseRef,
  input: PurchaseInput,
  cause: Cause,
): Promise<PurchasePlan> {
  const plan = planPurchase(await lockAggregate(trx, ref), input)
  await savePlan(trx, plan, cause)
  return plan
}

export type TransitionResult =
  | { kind: 'refused'; status: PurchaseStatus }
  | { kind: 'applied'; from: PurchaseStatus; status: PurchaseStatus }

/** Sends one event to the machine. `refused`: it has no such transition; nothing was written. */
export async function transitionPurchase(
  trx: Tx,
  ref: PurchaseRef,
  event: PurchaseEvent,
  cause: Cause,
): Promise<TransitionResult> {
  const { accepted, before, after } = await changePurchase(
    trx,
    ref,
    { type: 'event', event },
    cause,
  )
  const { status } = after.purchase
  return accepted
    ? { kind: 'applied', from: before.purchase.status, status }
    : { kind: 'refused', status }
}

/**
 * Writes a plan: the purchase, its records, history and flags in one statement, then its vouchers and
 * messages. The purchase is locked. Every change of a purchase's status is written here.
 *
 * @param ticket of the snapshot that was applied.
 */
export async function savePlan(
  trx: Tx,
  plan: PurchasePlan,
  cause: Cause,
  ticket: number | null = null,
): Promise<void> {
  await saveRows(trx, plan, cause, ticket)
  if (plan.issuesVouchers) await issuePurchaseVouchers(trx, plan.after.purchase)
  await alignToPlan(trx, plan)
  await closeOpenAttempts(trx, plan)
  for (const transition of plan.transitions) await publishTransition(trx, transition)
}

async function saveRows(
  trx: Tx,
  { before, after, transitions, raisedFlags, withdrawnFlags }: PurchasePlan,
  cause: Cause,
  ticket: number | null,
): Promise<void> {
  const { conferenceId, id, status } = before.purchase
  const changes = recordChanges(before.records, after.records)
  const owner = ownerOf({ conferenceId, purchaseId: id })
  const parts: SavePart[] = saveRecordsParts(owner, changes)
  if (transitions.length > 0) parts.push(transitionsPart(transitions, cause))
  if (raisedFlags.length > 0) parts.push(flagsPart(raisedFlags))
  if (withdrawnFlags.length > 0) parts.push(withdrawalsPart(withdrawnFlags))
  const isChange = parts.length > 0 || before.purchase !== after.purchase
  if (!isChange && ticket === null) return

  const applied = ticket === null ? '' : `, applied_ticket = :ticket, reconciled_at = now()`
  const { rows } = await trx
    .raw<{ rows: { purchases: number; written: number }[] }>(
      `with ${parts.map(({ sql }) => `${sql}, `).join('')} saved_purchase as (
       update bulk_purchases p
       set ${PURCHASE_ASSIGNMENTS}, updated_at = case when :isChange then now() else p.updated_at end
         ${applied}
       where p.conference_id = :conference and p.id = :owner and p.status = :from
       returning 1)
     select (select count(*) from saved_purchase) as purchases,
       ${writtenRows(parts)} as written`,
      {
        ...Object.assign({}, ...parts.map(({ bindings }) => bindings)),
        ...purchaseBindings(after.purchase),
        conference: conferenceId,
        owner: id,
        from: status,
        becamePaid: transitions.some(({ to }) => to === 'PAID'),
        isChange,
        ...(ticket === null ? {} : { ticket }),
      },
    )
    .options(PREPARED)
  const saved = rows[0]
  if (saved?.purchases !== 1 || saved.written !== expectedRows(parts)) {
    throw new Error(
      `Purchase ${id} was not saved: a row of it changed although it is locked, or a payment of it belongs to another purchase or charge.`,
    )
  }
}

const PURCHASE_ASSIGNMENTS = `
  status = :status, payment_intent_id = :paymentIntent,
  accepted_payment_intent_id = :acceptedIntent, accepted_amount = :acceptedAmount,
  amount_received = :received, amount_refunded = :refunded,
  failure_code = :failureCode, failure_message = :failureMessage, approved_by = :approvedBy,
  paid_at = case when :becamePaid then coalesce(p.paid_at, :paidAt, now()) else p.paid_at end,
  refunded_at = case when :status = 'REFUNDED' then coalesce(p.refunded_at, now()) end`

const purchaseBindings = (purchase: BulkPurchase) => ({
  status: purchase.status,
  paymentIntent: purchase.paymentIntentId,
  acceptedIntent: purchase.accepted?.paymentIntentId ?? null,
  acceptedAmount: purchase.accepted?.amount ?? null,
  received: purchase.amountReceived,
  refunded: purchase.amountRefunded,
  failureCode: purchase.failure?.code ?? null,
  failureMessage: purchase.failure?.message ?? null,
  approvedBy: purchase.approvedBy,
  paidAt: purchase.paidAt,
})

/** Once for each fact: a resolved flag stays resolved. */
function flagsPart(raised: PurchasePlan['raisedFlags']): SavePart {
  const rows = raised.map(({ code, flag: { fact, detail } }) => ({ code, fact, detail }))
  return {
    name: 'saved_flags',
    rows: null,
    sql: `saved_flags as (
      insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
      select cast(:conference as text), cast(:owner as text), f.code, f.fact, f.detail
      from json_to_recordset(:saved_flags) as f (code text, fact text, detail text)
      on conflict (conference_id, purchase_id, code, fact) do nothing)`,
    bindings: { saved_flags: JSON.stringify(rows) },
  }
}

/** A flag that staff resolved stays, also if they resolved it in this transaction. */
function withdrawalsPart(withdrawn: PurchasePlan['withdrawnFlags']): SavePart {
  return {
    name: 'withdrawn_flags',
    rows: null,
    sql: `withdrawn_flags as (
      delete from purchase_flags f
      using json_to_recordset(:withdrawn_flags) as w (code text, fact text)
      where f.conference_id = :conference and f.purchase_id = :owner and f.code = w.code
        and f.fact = w.fact and f.resolved_at is null)`,
    bindings: { withdrawn_flags: JSON.stringify(withdrawn) },
  }
}

/** Issues the vouchers that a paid purchase lacks. Safe to repeat. Returns how many it issued. */
export async function issuePurchaseVouchers(trx: Tx, purchase: BulkPurchase): Promise<number> {
  const { issued } = await issueVouchers(trx, {
    conferenceId: purchase.conferenceId,
    source: 'purchase',
    purchaseId: purchase.id,
    sponsorId: purchase.sponsorId,
    count: purchase.quantity,
    currency: purchase.currency,
    ticketTypeId: purchase.ticketTypeId,
    addOnId: purchase.addOnId,
    terms: purchase.terms,
    createdBy: purchase.requestedBy,
  })
  return issued
}

/**
 * Issues the vouchers that a paid purchase lacks, as its refunds and disputes require them now. Returns
 * how many it issued.
 */
export async function fulfillPurchase(trx: Tx, aggregate: PurchaseAggregate): Promise<number> {
  const { purchase } = aggregate
  const issued = await issuePurchaseVouchers(trx, purchase)
  const target = targetOf(aggregate)
  const ref = { conferenceId: purchase.conferenceId, purchaseId: purchase.id }
  if (target !== null) await alignVouchers(trx, ref, target)
  return issued
}

/**
 * The purchase is paid, but the page or the card of another attempt could still pay it again. Adds a job for each such
 * attempt that closes it.
 */
async function closeOpenAttempts(trx: Tx, { before, after }: PurchasePlan): Promise<void> {
  const { purchase, records } = after
  if (!isPaid(purchase)) return
  const known = isPaid(before.purchase) ? before.records.attempts : []
  const opened = records.attempts.filter(
    ({ attempt, ...now }) =>
      isPayable(now) && !known.some((one) => one.attempt === attempt && isPayable(one)),
  )
  for (const { attempt } of opened) {
    const ref = { conference_id: purchase.conferenceId, purchase_id: purchase.id }
    await addJob(trx, 'finish_attempt', { ...ref, attempt })
  }
}

async function alignToPlan(trx: Tx, plan: PurchasePlan): Promise<void> {
  const { purchase } = plan.after
  const { target } = plan
  const current = plan.before.target ?? (plan.issuesVouchers ? NEWLY_ISSUED : null)
  if (target === null || current === null) return
  const ref = { conferenceId: purchase.conferenceId, purchaseId: purchase.id }
  const isAligned = isSameTarget(current, target)
  const missing = isAligned ? current.missing : null
  await flagMissing(trx, plan, target, missing ?? (await alignVouchers(trx, ref, target)).missing)
}

/**
 * Raises the flag while too few vouchers can be deactivated because the others are redeemed, and withdraws it afterwards.
 * A full refund deactivates redeemed ones too.
 */
async function flagMissing(
  trx: Tx,
  { before, after: { purchase } }: PurchasePlan,
  target: VoucherTarget,
  missing: number,
): Promise<void> {
  // A free purchase has no refunds: only its revocation raises the flag.
  if (purchase.totalAmount === 0) return
  const ref = { conferenceId: purchase.conferenceId, purchaseId: purchase.id }
  if (missing === 0 || purchase.status === 'REFUNDED') {
    const isOpen = before.flags.some((one) => one.code === 'too_few_unredeemed' && one.isOpen)
    if (isOpen) await withdrawFlag(trx, ref, 'too_few_unredeemed')
    return
  }
  await raiseSingleFlag(trx, ref, 'too_few_unredeemed', {
    fact: `off:${target.inactive}`,
    detail: `Refunds require ${target.inactive} inactive vouchers, but ${missing} of them cannot be deactivated because they are redeemed. Decide with the sponsor what to do.`,
  })
}

const NEWLY_ISSUED: StoredTarget = { ...NO_TARGET, missing: 0 }

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
  if (event.type === 'COMP_REVOKED') events.push({ type: 'purchase.revoked' })
  else if (to === 'REFUNDED' && from !== 'REFUNDED') events.push({ type: 'purchase.refunded' })
  return events
}

/** The events that the sponsor's contact also gets an e-mail about. */
const EMAIL_OF_EVENT: Partial<Record<OutboundEventType, PurchaseEmailKind>> = {
  'purchase.paid': 'codes_ready',
  'purchase.reinstated': 'codes_ready',
  'purchase.failed': 'failed',
  'purchase.partially_refunded': 'partially_refunded',
  'purchase.refunded': 'refunded',
  'purchase.revoked': 'revoked',
  'purchase.disputed': 'disputed',
}

/** Publishes a transition in its own transaction: outbound webhooks, and an e-mail to the sponsor. */
async function publishTransition(trx: Tx, transition: Transition): Promise<void> {
  const { purchase } = transition
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
