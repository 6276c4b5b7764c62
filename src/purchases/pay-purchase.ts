import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type {
  PaymentGateway,
  PurchaseRef,
  SavedCard,
  SavedCards,
} from '../payments/payment-gateway.ts'
import { type CardParams } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import { AUTHENTICATION_REQUIRED } from './apply-snapshot.ts'
import { closeAttempt } from './checkout-purchase.ts'
import {
  expireAttempt,
  findAttempt,
  insertCardAttempt,
  type PaymentAttempt,
  updateAttempt,
} from './payment-attempt-store.ts'
import { savePayments } from './payment-store.ts'
import {
  assertPayable,
  BulkPurchaseError,
  paymentInProgress,
  storedStripeError,
} from './purchase-aggregate.ts'
import type { BulkPurchase, Cause } from './purchase-store.ts'
import { findPurchase, lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'
import { transitionPurchase } from './transition-purchase.ts'

export type PayDeps = { db: Db; gateway: PaymentGateway; cards: SavedCards }

/**
 * The first step of a payment by a saved card, in the request's transaction: chooses the attempt of this
 * request. It resumes an in-flight attempt for the same card. It does not call Stripe.
 *
 * @param named the payment method that the caller named. Null: the sponsor's default.
 * @returns the attempt's number. If that attempt does not exist yet, the one before it, such as an open
 *   payment page, must first be closed at Stripe.
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export async function beginPay(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  named: string | null,
): Promise<number> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const purchase = await lockPurchase(trx, ref, caller.sponsorId)
  const conference = await getConference(trx, caller.conferenceId)
  const isSponsor = caller.sponsorId !== null
  const last = (await assertPayable(trx, conference, purchase, 'pay', isSponsor)).at(-1)
  if (last !== undefined && (last.state === 'creating' || last.state === 'open')) {
    const isSame = last.kind === 'payment_intent' && (named === null || last.params.named === named)
    return isSame ? last.attempt : last.attempt + 1
  }
  const next = (last?.attempt ?? 0) + 1
  await insertCardAttempt(trx, ref, next, paramsOf(purchase, named))
  return next
}

function paramsOf(purchase: BulkPurchase, named: string | null): CardParams {
  const { description, totalAmount: amount, currency, sponsorId } = purchase
  return { description, amount, currency, sponsorId, named }
}

/**
 * Charges a saved card, from the attempt's number alone. Safe to repeat after a crash at any line: the
 * intent is created without confirming it, stored, and then confirmed by its id, and an intent can be
 * paid only once. After each response of Stripe, or none, a snapshot is fetched, and only that changes
 * the purchase: a decline fails it, as on the payment page.
 *
 * @throws AppError `authentication_required` if the bank requires the cardholder: the intent is closed,
 *   and checkout remains possible; `no_payment_method`, `validation_failed`, `payment_in_progress`,
 *   `stripe_refused`; `stripe_unavailable` and `stripe_failed` after an unknown outcome: the purchase
 *   stays PROCESSING until a retry or a snapshot finds it out.
 */
export async function finishPay(
  deps: PayDeps,
  ref: PurchaseRef,
  number: number,
  named: string | null,
  cause: Cause,
): Promise<void> {
  const first = await prepareAttempt(deps, ref, number, named, cause)
  // Stripe stores an error under the first attempt's key: try once more under a new key.
  const attempt =
    first.state === 'refused'
      ? await prepareAttempt(deps, ref, first.attempt + 1, named, cause)
      : first
  if (attempt.state === 'refused') throw storedStripeError()
  await confirm(deps, ref, attempt, cause)
  await closeDeclined(deps, ref, attempt.attempt)
}

/** The attempt with its intent stored; `refused` if Stripe only stores an error under its key. */
async function prepareAttempt(
  deps: PayDeps,
  ref: PurchaseRef,
  number: number,
  named: string | null,
  cause: Cause,
): Promise<PaymentAttempt> {
  const attempt = await takeAttempt(deps, ref, number, named, cause)
  if (attempt.kind !== 'payment_intent') {
    // Another request opened the payment page.
    throw paymentInProgress(
      'Another request has just opened a payment page. Get the purchase again to see its status.',
    )
  }
  if (attempt.state !== 'creating') return attempt
  const card = await chooseCard(deps, ref, attempt)
  const created = await deps.gateway.openIntent(ref, attempt.attempt, attempt.params, card)
  const stored = await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    const now = await findAttempt(trx, ref, attempt.attempt)
    // A parallel call closed it, or stored its intent.
    if (now?.state !== 'creating') return assertFound(now, ref)
    await (created.kind === 'made'
      ? saveIntent(trx, ref, attempt.attempt, attempt.params, created.paymentIntent, cause)
      : updateAttempt(trx, ref, attempt.attempt, { state: 'refused', refusal: created.message }))
    return assertFound(await findAttempt(trx, ref, attempt.attempt), ref)
  })
  if (created.kind === 'refused' && !created.storedError && stored.state === 'refused') {
    throw new BulkPurchaseError('stripe_refused', created.message)
  }
  return stored
}

function assertFound(attempt: PaymentAttempt | null, ref: PurchaseRef): PaymentAttempt {
  if (attempt === null) throw new Error(`An attempt of ${ref.purchaseId} is missing`)
  return attempt
}

/** Attempt `number`. If it does not exist, the one before it is closed and this one inserted. */
async function takeAttempt(
  deps: PayDeps,
  ref: PurchaseRef,
  number: number,
  named: string | null,
  cause: Cause,
): Promise<PaymentAttempt> {
  const found = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (found?.state === 'refused') return takeAttempt(deps, ref, number + 1, named, cause)
  if (found !== null) return found
  const purchase = await withTenant(deps.db, ref, (trx) => findPurchase(trx, ref))
  // Check the card before an open payment page is closed for it.
  await deps.cards.choose(ref.conferenceId, purchase?.sponsorId ?? null, named)
  await closeAttempt(deps, ref, number - 1, cause)
  return withTenant(deps.db, ref, async (trx) => {
    const locked = await lockPurchase(trx, ref)
    const existing = await findAttempt(trx, ref, number)
    if (existing !== null) return existing
    await expireAttempt(trx, ref, number - 1)
    const conference = await getConference(trx, ref.conferenceId)
    await assertPayable(trx, conference, locked, 'pay', false)
    await insertCardAttempt(trx, ref, number, paramsOf(locked, named))
    return assertFound(await findAttempt(trx, ref, number), ref)
  })
}

/** The card is stored before Stripe is called: the sponsor's default may change before a retry. */
async function chooseCard(
  deps: PayDeps,
  ref: PurchaseRef,
  attempt: Extract<PaymentAttempt, { kind: 'payment_intent' }>,
): Promise<SavedCard> {
  const { params, paymentMethod } = attempt
  try {
    const wanted = paymentMethod ?? params.named
    const card = await deps.cards.choose(ref.conferenceId, params.sponsorId, wanted)
    await withTenant(deps.db, ref, (trx) =>
      updateAttempt(trx, ref, attempt.attempt, { payment_method: card.paymentMethod }),
    )
    return card
  } catch (error) {
    if (error instanceof AppError && error.status < 500) {
      await withTenant(deps.db, ref, async (trx) => {
        await lockPurchase(trx, ref)
        const now = await findAttempt(trx, ref, attempt.attempt)
        if (now?.state !== 'creating') return
        await updateAttempt(trx, ref, attempt.attempt, { state: 'refused', refusal: error.message })
      })
    }
    throw error
  }
}

async function saveIntent(
  trx: Tx,
  ref: PurchaseRef,
  attempt: number,
  { amount, currency }: CardParams,
  paymentIntent: string,
  cause: Cause,
): Promise<void> {
  await updateAttempt(trx, ref, attempt, { state: 'open', payment_intent_id: paymentIntent })
  // From now on snapshots, webhooks and the drift report find the intent.
  const status = 'requires_confirmation'
  const fact = { paymentIntent, attempt, status, amount, received: 0, currency, decline: null }
  const none = { sessions: [], refunds: [], disputes: [], warnings: [] }
  await savePayments(trx, ref, { ...none, payments: [fact] })
  await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
}

/** @throws AppError if the outcome is unknown after a snapshot, or if Stripe refuses to charge. */
async function confirm(
  deps: PayDeps,
  ref: PurchaseRef,
  { attempt, confirms }: PaymentAttempt,
  cause: Cause,
): Promise<void> {
  // An earlier request confirmed it and may have died: only Stripe knows the outcome.
  if (confirms > 0) await reconcilePurchase(deps, ref, cause)
  const error = await confirmOnce(deps, ref, attempt)
  await reconcilePurchase(deps, ref, cause)
  if (error === null) return
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt))
  if (after?.state !== 'open') return
  if (error instanceof AppError && error.code === 'stripe_refused') {
    await closeRefused(deps, ref, attempt, error, cause)
  }
  throw error
}

/** @returns the error; null if there was none, or nothing to confirm. */
async function confirmOnce(deps: PayDeps, ref: PurchaseRef, number: number): Promise<unknown> {
  const stored = await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    const now = await findAttempt(trx, ref, number)
    if (now?.state !== 'open' || now.paymentIntentId === null) return null
    const confirms = now.confirms + 1
    await updateAttempt(trx, ref, number, { confirms })
    return { confirms, paymentIntent: now.paymentIntentId }
  })
  if (stored === null) return null
  return deps.gateway.confirmIntent(ref, number, stored.confirms, stored.paymentIntent)
}

/** Closes an attempt that Stripe refused to charge without a decline, such as a detached card. */
async function closeRefused(
  deps: PayDeps,
  ref: PurchaseRef,
  attempt: number,
  { code, message }: AppError,
  cause: Cause,
): Promise<void> {
  await closeAttempt(deps, ref, attempt, cause)
  await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    if ((await findAttempt(trx, ref, attempt))?.state !== 'open') return
    await updateAttempt(trx, ref, attempt, { state: 'refused', refusal: message })
    await transitionPurchase(
      trx,
      ref,
      { type: 'PAYMENT_FAILED', failure: { code, message } },
      cause,
    )
  })
}

/** Closes a declined intent: another card could still pay it. */
async function closeDeclined(deps: PayDeps, ref: PurchaseRef, number: number): Promise<void> {
  const { attempt, purchase } = await withTenant(deps.db, ref, async (trx) => ({
    attempt: await findAttempt(trx, ref, number),
    purchase: await findPurchase(trx, ref),
  }))
  if (attempt?.payment !== 'failed' || attempt.paymentIntentId === null) return
  await deps.gateway.closeIntent(ref.conferenceId, attempt.paymentIntentId)
  if (purchase?.failure?.code !== AUTHENTICATION_REQUIRED) return
  const detail =
    'The bank requires the cardholder to authenticate. Nothing was charged: use checkout.'
  throw new BulkPurchaseError('authentication_required', detail)
}
