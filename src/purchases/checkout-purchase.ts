import { type Conference, getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type {
  CheckoutParams,
  OpenCheckoutResult,
  OpenedSession,
  PaymentGateway,
  PurchaseRef,
} from '../payments/payment-gateway.ts'
import { assertReturnUrls, type ReturnUrls } from '../payments/return-urls.ts'
import type { Caller } from '../shared/caller.ts'
import type { Clock } from '../shared/time.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import {
  type CheckoutSessionAttempt,
  expireAttempt,
  findAttempt,
  insertAttempt,
  type PaymentAttempt,
  updateAttempt,
} from './payment-attempt-store.ts'
import {
  assertPayable,
  BulkPurchaseError,
  paymentInProgress,
  storedStripeError,
} from './purchase-aggregate.ts'
import { type BulkPurchase, type Cause, lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'
import { transitionPurchase } from './transition-purchase.ts'

export type CheckoutDeps = { db: Db; gateway: PaymentGateway; clock: Clock }

/** The payment page as the API shows it. */
export type CheckoutPage = { url: string | null; session_id: string; expires_at: string }

const sameUrls = (params: CheckoutParams, urls: ReturnUrls) =>
  params.successUrl === urls.successUrl && params.cancelUrl === urls.cancelUrl

/**
 * The first step of a checkout, in the request's transaction: chooses the attempt of this request, and
 * inserts it if no attempt is open. It does not call Stripe.
 *
 * @returns the attempt's number. If that attempt does not exist yet, the one before it must first be
 * closed at Stripe: it has other return URLs, has expired, or is a saved card.
 */
export async function beginCheckout(
  trx: Tx,
  deps: { clock: Clock },
  caller: Caller,
  purchaseId: string,
  urls: ReturnUrls,
): Promise<number> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const purchase = await lockPurchase(trx, ref, caller.sponsorId)
  const conference = await getConference(trx, caller.conferenceId)
  assertReturnUrls(urls, conference)
  const attempts = await assertPayable(
    trx,
    conference,
    purchase,
    'checkout',
    caller.sponsorId !== null,
  )
  const last = attempts.at(-1)
  if (last !== undefined && (last.state === 'creating' || last.state === 'open')) {
    // The page replaces an attempt by a saved card, unless that one is found to be paid.
    if (last.kind !== 'checkout') return last.attempt + 1
    const isAlive = last.expiresAt === null || last.expiresAt > deps.clock.now()
    return isAlive && sameUrls(last.params, urls) ? last.attempt : last.attempt + 1
  }
  const next = (last?.attempt ?? 0) + 1
  await insertAttempt(trx, ref, next, await freezeParams(trx, deps, conference, purchase, urls))
  return next
}

async function freezeParams(
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

/**
 * The rest of a checkout, from the attempt's number alone: opens the session at Stripe and stores it.
 * Safe to repeat after a crash at any line: with the same parameters and idempotency key, Stripe
 * returns the same session.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`, `payment_in_progress`.
 */
export async function finishCheckout(
  deps: CheckoutDeps,
  ref: PurchaseRef,
  number: number,
  urls: ReturnUrls,
  cause: Cause,
): Promise<CheckoutPage> {
  const first = await openAttemptNumber(deps, ref, number, urls, cause)
  // No payer has seen a session of the refused attempt, so another may replace it. This happens once;
  // a second refusal goes to the caller.
  const last = needsNewAttempt(first, deps.clock)
    ? await openAttemptNumber(deps, ref, first.attempt.attempt + 1, urls, cause)
    : first
  if (last.result.kind === 'refused') throw refusalOf(last.result)
  const { url, sessionId, expiresAt } = last.result.session
  return { url, session_id: sessionId, expires_at: expiresAt.toISOString() }
}

type OpenedAttempt = { attempt: CheckoutSessionAttempt; result: OpenCheckoutResult }

async function openAttemptNumber(
  deps: CheckoutDeps,
  ref: PurchaseRef,
  number: number,
  urls: ReturnUrls,
  cause: Cause,
): Promise<OpenedAttempt> {
  const find = () => withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  const found = await find()
  if (found === null) await replaceAttempt(deps, ref, number, urls, cause)
  const attempt = found ?? (await find())
  if (attempt === null) throw new Error(`Attempt ${number} of ${ref.purchaseId} was not inserted`)
  if (attempt.state === 'refused' || attempt.kind !== 'checkout') {
    return openAttemptNumber(deps, ref, number + 1, urls, cause)
  }
  return { attempt, result: await openAttempt(deps, ref, attempt, cause) }
}

// https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at
const STRIPE_MIN_LIFETIME_SECONDS = 30 * 60

/** Whether only this attempt is refused: Stripe stored an error under its key, or `expiresAt` is too near. */
function needsNewAttempt({ attempt, result }: OpenedAttempt, clock: Clock): boolean {
  if (result.kind !== 'refused') return false
  const { expiresAt } = attempt.params
  const now = clock.now().getTime() / 1000
  return result.storedError || (expiresAt !== null && expiresAt < now + STRIPE_MIN_LIFETIME_SECONDS)
}

function refusalOf({ message, storedError }: { message: string; storedError: boolean }) {
  return storedError ? storedStripeError() : new BulkPurchaseError('stripe_refused', message)
}

/** Closes the attempt before `number` at Stripe, then inserts attempt `number`. */
async function replaceAttempt(
  deps: CheckoutDeps,
  ref: PurchaseRef,
  number: number,
  urls: ReturnUrls,
  cause: Cause,
): Promise<void> {
  await closeAttempt(deps, ref, number - 1, cause)
  await withTenant(deps.db, ref, async (trx) => {
    const purchase = await lockPurchase(trx, ref)
    await expireAttempt(trx, ref, number - 1)
    if (await findAttempt(trx, ref, number)) return
    const conference = await getConference(trx, ref.conferenceId)
    await assertPayable(trx, conference, purchase, 'checkout', false)
    await insertAttempt(trx, ref, number, await freezeParams(trx, deps, conference, purchase, urls))
  })
}

type Deps = { db: Db; gateway: PaymentGateway }

/** Null while the attempt is `creating`, even if a webhook already stored its session. */
function sessionOf(attempt: PaymentAttempt | null): OpenedSession | null {
  if (attempt === null || attempt.state === 'creating') return null
  if (attempt.sessionId === null || attempt.expiresAt === null) return null
  return { sessionId: attempt.sessionId, url: attempt.url, expiresAt: attempt.expiresAt }
}

/**
 * Opens the attempt's session at Stripe and stores it, unless the attempt has one. Two parallel calls,
 * or a call after a crash, get the same session from Stripe.
 *
 * @throws AppError `stripe_unavailable` or `stripe_failed` after an unknown outcome; nothing changed.
 */
async function openAttempt(
  deps: Deps,
  ref: PurchaseRef,
  attempt: CheckoutSessionAttempt,
  cause: Cause,
): Promise<OpenCheckoutResult> {
  const stored = sessionOf(attempt)
  if (stored !== null) return { kind: 'opened', session: stored }
  const result = await deps.gateway.openCheckout(ref, attempt.attempt, attempt.params)
  return withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // A parallel call or a snapshot may have stored it first.
    const session = sessionOf(await findAttempt(trx, ref, attempt.attempt))
    if (session !== null) return { kind: 'opened', session }
    if (result.kind === 'refused') {
      await updateAttempt(trx, ref, attempt.attempt, { state: 'refused', refusal: result.message })
      return result
    }
    await updateAttempt(trx, ref, attempt.attempt, {
      state: 'open',
      session_id: result.session.sessionId,
      url: result.session.url,
      expires_at: result.session.expiresAt,
    })
    await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
    return result
  })
}

/**
 * Closes an attempt at Stripe, so that it can no longer be paid. If its session is unknown, the session
 * is first opened under the attempt's key: that returns the session to close.
 *
 * @throws AppError `payment_in_progress` if the payer completed it first.
 */
export async function closeAttempt(
  deps: Deps,
  ref: PurchaseRef,
  number: number,
  cause: Cause,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (attempt === null || attempt.state === 'expired' || attempt.state === 'refused') return
  if (attempt.kind === 'payment_intent') return closeCard(deps, ref, attempt, cause)
  const opened = await openAttempt(deps, ref, attempt, cause)
  if (opened.kind === 'refused') return
  const end = await deps.gateway.closeCheckout(ref.conferenceId, opened.session.sessionId)
  if (end === 'complete') {
    throw paymentInProgress(
      'The payer has just completed the checkout. Get the purchase again to see its status.',
    )
  }
}

/**
 * Closes a saved-card attempt at Stripe. An intent is stored before it is confirmed, so an attempt
 * without one cannot be charged and only expires. If a parallel call stores the intent meanwhile, that
 * intent is closed at Stripe.
 */
async function closeCard(
  deps: Deps,
  ref: PurchaseRef,
  { attempt, paymentIntentId }: PaymentAttempt,
  cause: Cause,
): Promise<void> {
  if (paymentIntentId === null) {
    const isExpired = await withTenant(deps.db, ref, async (trx) => {
      await lockPurchase(trx, ref)
      if ((await findAttempt(trx, ref, attempt))?.paymentIntentId !== null) return false
      await expireAttempt(trx, ref, attempt)
      return true
    })
    return isExpired ? undefined : closeAttempt(deps, ref, attempt, cause)
  }
  const end = await deps.gateway.closeIntent(ref.conferenceId, paymentIntentId)
  if (end === 'canceled') return
  await reconcilePurchase(deps, ref, cause)
  throw paymentInProgress(
    'The card has just been charged. Get the purchase again to see its status.',
  )
}
