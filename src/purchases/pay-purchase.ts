import { type Conference, getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { isPayable } from '../payments/attempt-machine.ts'
import {
  closeAttempt,
  finishStaleAttempt,
  openPaymentPage,
  payWithSavedCard,
} from '../payments/make-payment.ts'
import {
  type AttemptRequest,
  assertReturnUrls,
  type ChosenAttempt,
  chooseAttempt,
  type Payable,
  type ReturnUrls,
} from '../payments/payable.ts'
import type { PaymentGateway, SavedCards } from '../payments/payment-gateway.ts'
import type { CardParams, CheckoutParams, PaymentAttempt } from '../payments/payment-records.ts'
import { insertAttempt, noteOnAttempt } from '../payments/payment-store.ts'
import { AUTHENTICATION_REQUIRED } from '../payments/plan-records.ts'
import type { Caller } from '../shared/caller.ts'
import type { Clock } from '../shared/time.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import { ownerOf, savePlan } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import {
  allowedActions,
  assertPayable,
  type BulkPurchase,
  BulkPurchaseError,
  isPaid,
  machineContext,
  type PurchaseAggregate,
  type PurchaseRef,
  wrongState,
} from './purchase-aggregate.ts'
import { lineItemName } from './purchase-description.ts'
import type { Cause } from './purchase-history.ts'
import { getAggregate, lockAggregate, withPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

export type PayDeps = {
  db: Db
  gateway: PaymentGateway
  cards: SavedCards
  clock: Clock
  /** Of the service's own pages, to which a checkout may always return. Absent: no pages. */
  ownOrigin?: string
}

/**
 * The first step of a payment, in the request's transaction: chooses the attempt of this request, and
 * inserts it if no attempt is open. It does not call Stripe.
 *
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`;
 *   `validation_failed` for the return URLs.
 */
export async function beginPayment(
  trx: Tx,
  deps: Pick<PayDeps, 'clock' | 'ownOrigin'>,
  caller: Caller,
  purchaseId: string,
  request: AttemptRequest,
): Promise<ChosenAttempt> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const [aggregate, conference] = await Promise.all([
    lockAggregate(trx, ref, caller.sponsorId),
    getConference(trx, caller.conferenceId),
  ])
  if (request.kind === 'checkout')
    assertReturnUrls(request.urls, conference, deps.ownOrigin ?? null)
  const action = request.kind === 'checkout' ? 'checkout' : 'pay'
  assertPayable(conference, aggregate, action, caller.sponsorId !== null)
  const { number, insert } = chooseAttempt(aggregate.records, request, deps.clock)
  const { purchase } = aggregate
  const inserted = insert
    ? await insertNext(trx, deps, conference, purchase, number, request, caller.actor.id)
    : null
  return { number, inserted }
}

async function insertNext(
  trx: Tx,
  deps: { clock: Clock },
  conference: Conference,
  purchase: BulkPurchase,
  attempt: number,
  request: AttemptRequest,
  requestedBy: string,
): Promise<PaymentAttempt> {
  const owner = ownerOf({ conferenceId: purchase.conferenceId, purchaseId: purchase.id })
  const kind =
    request.kind === 'checkout'
      ? {
          kind: request.kind,
          params: await checkoutParams(trx, deps, conference, purchase, request.urls),
        }
      : { kind: request.kind, params: cardParams(purchase, request.named) }
  return insertAttempt(trx, owner, { attempt, requestedBy, ...kind })
}

async function checkoutParams(
  trx: Tx,
  deps: { clock: Clock },
  conference: Conference,
  purchase: BulkPurchase,
  urls: ReturnUrls,
): Promise<CheckoutParams> {
  const minutes = conference.checkoutExpiresAfterMinutes
  const sponsor =
    purchase.sponsorId === null ? null : await findSponsor(trx, conference.id, purchase.sponsorId)
  return {
    ...urls,
    name: lineItemName(purchase),
    description: purchase.description,
    quantity: purchase.quantity,
    unitAmount: purchase.unitAmount,
    currency: purchase.currency,
    sponsorId: purchase.sponsorId,
    contactEmail: sponsor?.contactEmail ?? null,
    // 24 hours is Stripe's default. Without the parameter, it starts when Stripe opens the session.
    expiresAt:
      minutes === 1440 ? null : Math.floor(deps.clock.now().getTime() / 1000) + minutes * 60,
    invoiceCreation: conference.invoiceCreation,
    taxIdCollection: conference.taxIdCollection,
  }
}

function cardParams(
  { description, totalAmount: amount, currency, sponsorId }: BulkPurchase,
  named: string | null,
): CardParams {
  return { description, amount, currency, sponsorId, named }
}

/** The purchase as the payment flows use it. Each change is one transaction under its lock. */
function asPayable(deps: PayDeps, ref: PurchaseRef, cause: Cause): Payable {
  const { db, cards } = deps
  const owner = ownerOf(ref)
  const get = () => withTenant(db, ref, (trx) => getAggregate(trx, ref))
  const attemptOf = (attempts: PaymentAttempt[], number: number) => {
    const found = attempts.find(({ attempt }) => attempt === number)
    if (found === undefined) throw new Error(`Attempt ${number} of ${ref.purchaseId} is missing`)
    return found
  }
  return {
    owner,
    listAttempts: async () => (await get()).records.attempts,
    apply: (input, from) =>
      withPurchase(db, ref, async (trx, before) => {
        const attempt = attemptOf(before.records.attempts, input.attempt)
        if (from !== undefined && !from.includes(attempt.state)) return { attempt, isChange: false }
        const plan = planPurchase(before, { type: 'attempt', ...input })
        await savePlan(trx, plan, cause)
        const after = attemptOf(plan.after.records.attempts, input.attempt)
        return { attempt: after, isChange: plan.accepted }
      }),
    insertAttempt: (number, request) =>
      withPurchase(db, ref, async (trx, aggregate) => {
        const found = aggregate.records.attempts.find(({ attempt }) => attempt === number)
        if (found !== undefined) return found
        const conference = await getConference(trx, ref.conferenceId)
        const action = request.kind === 'checkout' ? 'checkout' : 'pay'
        assertPayable(conference, aggregate, action, false)
        const { purchase } = aggregate
        return insertNext(trx, deps, conference, purchase, number, request, cause.actor.id)
      }),
    note: (number, from, notes) =>
      withTenant(db, ref, (trx) => noteOnAttempt(trx, owner, number, from, notes)),
    isPaid: async () => isPaid((await get()).purchase),
    reconcile: (hints) => reconcilePurchase(deps, ref, cause, hints),
    // A purchase does not require a customer at Stripe.
    customer: async () => null,
    chooseCard: async (named) => {
      const { sponsorId } = (await get()).purchase
      return cards.choose(ref.conferenceId, sponsorId, named)
    },
  }
}

/** The payment page as the API shows it. */
export type CheckoutPage = { url: string | null; session_id: string; expires_at: string }

/** The rest of a checkout; see `openPaymentPage`. Safe to repeat after a crash at any line. */
export async function finishCheckout(
  deps: PayDeps,
  ref: PurchaseRef,
  chosen: ChosenAttempt,
  urls: ReturnUrls,
  cause: Cause,
): Promise<CheckoutPage> {
  const session = await openPaymentPage(deps, asPayable(deps, ref, cause), chosen, urls)
  const { url, sessionId, expiresAt } = session
  return { url, session_id: sessionId, expires_at: expiresAt.toISOString() }
}

/**
 * The rest of a payment by a saved card; see `payWithSavedCard`. A decline fails the purchase, as on the
 * payment page.
 *
 * @throws AppError `authentication_required` if the bank requires the cardholder: the intent is closed,
 *   and checkout remains possible.
 */
export async function finishPay(
  deps: PayDeps,
  ref: PurchaseRef,
  chosen: ChosenAttempt,
  named: string | null,
  cause: Cause,
): Promise<void> {
  const { state, failure } = await payWithSavedCard(
    deps,
    asPayable(deps, ref, cause),
    chosen,
    named,
  )
  if (state !== 'failed' || failure?.code !== AUTHENTICATION_REQUIRED) return
  const detail =
    'The bank requires the cardholder to authenticate. Nothing was charged: use checkout.'
  throw new BulkPurchaseError('authentication_required', detail)
}

/**
 * Refuses a cancellation, in the request's transaction, when the machine would refuse it at the end.
 *
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`.
 */
export async function beginCancel(trx: Tx, caller: Caller, purchaseId: string): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  assertCancellable(await lockAggregate(trx, ref, caller.sponsorId), caller.sponsorId !== null)
}

function assertCancellable(aggregate: PurchaseAggregate, isSponsor: boolean): void {
  const allowed = allowedActions(aggregate, isSponsor)
  if (allowed.includes('cancel')) return
  const { pending, paid } = machineContext(aggregate).attempts
  if (aggregate.purchase.status === 'PROCESSING' && (pending || paid)) {
    throw new BulkPurchaseError(
      'payment_in_progress',
      'The purchase cannot be cancelled: a payment is pending or has arrived.',
    )
  }
  throw wrongState('cancel', aggregate.purchase.status, allowed)
}

/**
 * Cancels a purchase after the attempt that can be paid is closed at Stripe. Safe to repeat.
 *
 * @throws AppError `payment_in_progress` if the payer completed it first; BulkPurchaseError `wrong_state`.
 */
export async function finishCancel(deps: PayDeps, ref: PurchaseRef, cause: Cause): Promise<void> {
  const event = { type: 'event', event: { type: 'CANCELLED' } } as const
  const plan = await afterClosing(deps, ref, cause, async (trx, before) => {
    const cancelled = planPurchase(before, event)
    await savePlan(trx, cancelled, cause)
    return cancelled
  })
  const { status } = plan.after.purchase
  // Stripe's own event about the expired session may have failed the purchase first.
  if (plan.accepted || status === 'FAILED') return
  throw wrongState('cancel', status, [])
}

/**
 * Closes at Stripe what can still be paid, then runs `work` under the purchase's lock, once no attempt can be
 * paid.
 *
 * @throws AppError `payment_in_progress` if the payer completed it first.
 */
export async function afterClosing<T>(
  deps: PayDeps,
  ref: PurchaseRef,
  cause: Cause,
  work: (trx: Tx, before: PurchaseAggregate) => Promise<T>,
): Promise<T> {
  const payable = asPayable(deps, ref, cause)
  for (;;) {
    const last = (await payable.listAttempts()).at(-1)
    if (last !== undefined) await closeAttempt(deps, payable, last.attempt, 'CANCELLED')
    const done = await withPurchase(deps.db, ref, async (trx, before) =>
      before.records.attempts.some(isPayable) ? null : { result: await work(trx, before) },
    )
    // Null: a parallel request opened another attempt meanwhile.
    if (done !== null) return done.result
  }
}

const STALE_CAUSE = {
  actor: { kind: 'system', id: 'sweep' },
  cause: 'unfinished attempt',
} as const

/** Closes an attempt that no request continues; see `finishStaleAttempt`. */
export function finishStalePurchaseAttempt(
  deps: PayDeps,
  ref: PurchaseRef,
  attempt: number,
): Promise<void> {
  return finishStaleAttempt(deps, asPayable(deps, ref, STALE_CAUSE), attempt)
}
