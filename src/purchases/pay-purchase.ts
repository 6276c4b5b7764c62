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
import { closeAttempt } from './open-attempt.ts'
import {
  expireAttempt,
  findAttempt,
  insertCardAttempt,
  type PaymentAttempt,
  updateAttempt,
} from './payment-attempt-store.ts'
import { savePayments } from './payment-store.ts'
import { assertPayable, BulkPurchaseError, paymentInProgress } from './purchase-aggregate.ts'
import type { BulkPurchase, Cause } from './purchase-store.ts'
import { findPurchase, lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'
import { transitionPurchase } from './transition-purchase.ts'

export type PayDeps = { db: Db; gateway: PaymentGateway; cards: SavedCards }

/**
 * First step of paying by a saved card, in the request's transaction: decides which try this request
 * is about. One that is under way for the same card is gone on with. Nothing is asked of Stripe here.
 *
 * @param named the payment method that was asked for; null: the sponsor's default.
 * @returns the try's number. It may be one that does not exist yet: then the one before it, such as
 *   an open payment page, has to be closed at Stripe first.
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
 * Charges a saved card, from the number of the try alone. May be repeated after a crash at any line:
 * the intent is made unconfirmed and noted, then confirmed by its id, and an intent can only be paid
 * once. Whatever Stripe answers, or does not, the purchase is read afterwards, and only the reading
 * moves it: a decline fails it, as it would by the payment page.
 *
 * @throws AppError `authentication_required` when the bank wants the payer: the intent is closed, and
 *   checkout is the way; `no_payment_method`, `validation_failed`, `payment_in_progress`,
 *   `stripe_refused`; `stripe_unavailable` and `stripe_failed` after an unknown outcome: the purchase
 *   stays PROCESSING until a repeat or a reading learns it.
 */
export async function finishPay(
  deps: PayDeps,
  ref: PurchaseRef,
  number: number,
  named: string | null,
  cause: Cause,
): Promise<void> {
  const first = await prepareAttempt(deps, ref, number, named, cause)
  // An error that Stripe keeps under a key is no answer for this request: once more under another.
  const attempt =
    first.state === 'refused'
      ? await prepareAttempt(deps, ref, first.attempt + 1, named, cause)
      : first
  if (attempt.state === 'refused') {
    const detail = 'Stripe failed and keeps that answer. Ask once more.'
    throw new BulkPurchaseError('stripe_failed', detail, { retryAfterSeconds: 1 })
  }
  await confirm(deps, ref, attempt, cause)
  await closeDeclined(deps, ref, attempt.attempt)
}

/** The try with its intent noted; `refused` when Stripe only keeps an error for it. */
async function prepareAttempt(
  deps: PayDeps,
  ref: PurchaseRef,
  number: number,
  named: string | null,
  cause: Cause,
): Promise<PaymentAttempt> {
  const attempt = await takeAttempt(deps, ref, number, named, cause)
  if (attempt.kind !== 'payment_intent') {
    // Somebody opened the payment page in the meantime.
    throw paymentInProgress('A payment page was opened meanwhile; look at the purchase again.')
  }
  if (attempt.state !== 'creating') return attempt
  const card = await chooseCard(deps, ref, attempt)
  const made = await deps.gateway.openIntent(ref, attempt.attempt, attempt.params, card)
  const noted = await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    const now = await findAttempt(trx, ref, attempt.attempt)
    // Given up, or noted, by a parallel call.
    if (now?.state !== 'creating') return assertFound(now, ref)
    await (made.kind === 'made'
      ? saveIntent(trx, ref, attempt.attempt, attempt.params, made.paymentIntent, cause)
      : updateAttempt(trx, ref, attempt.attempt, { state: 'refused', refusal: made.message }))
    return assertFound(await findAttempt(trx, ref, attempt.attempt), ref)
  })
  if (made.kind === 'refused' && !made.storedError && noted.state === 'refused') {
    throw new BulkPurchaseError('stripe_refused', made.message)
  }
  return noted
}

function assertFound(attempt: PaymentAttempt | null, ref: PurchaseRef): PaymentAttempt {
  if (attempt === null) throw new Error(`A try of ${ref.purchaseId} is gone`)
  return attempt
}

/** Try `number`, made in the place of the one before when there is none yet. */
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
  // Before an open payment page is closed for it.
  await deps.cards.choose(ref.conferenceId, purchase?.sponsorId ?? null, named)
  await closeAttempt(deps, ref, number - 1, cause)
  return withTenant(deps.db, ref, async (trx) => {
    const locked = await lockPurchase(trx, ref)
    const made = await findAttempt(trx, ref, number)
    if (made !== null) return made
    await expireAttempt(trx, ref, number - 1)
    const conference = await getConference(trx, ref.conferenceId)
    await assertPayable(trx, conference, locked, 'pay', false)
    await insertCardAttempt(trx, ref, number, paramsOf(locked, named))
    return assertFound(await findAttempt(trx, ref, number), ref)
  })
}

/** Noted before Stripe is asked: the default may change until a repeat. */
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
  // Known from now on: to readings, webhooks and the drift report.
  const status = 'requires_confirmation'
  const fact = { paymentIntent, attempt, status, amount, received: 0, currency, decline: null }
  const none = { sessions: [], refunds: [], disputes: [], warnings: [] }
  await savePayments(trx, ref, { ...none, payments: [fact] })
  await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
}

/** @throws AppError when the outcome is not known after a reading, or Stripe will not charge at all. */
async function confirm(
  deps: PayDeps,
  ref: PurchaseRef,
  { attempt, confirms }: PaymentAttempt,
  cause: Cause,
): Promise<void> {
  // Somebody asked before us and may have died: only Stripe knows what came of it.
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

/** @returns what went wrong; null when nothing did, or there was nothing to confirm. */
async function confirmOnce(deps: PayDeps, ref: PurchaseRef, number: number): Promise<unknown> {
  const noted = await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    const now = await findAttempt(trx, ref, number)
    if (now?.state !== 'open' || now.paymentIntentId === null) return null
    const confirms = now.confirms + 1
    await updateAttempt(trx, ref, number, { confirms })
    return { confirms, paymentIntent: now.paymentIntentId }
  })
  if (noted === null) return null
  return deps.gateway.confirmIntent(ref, number, noted.confirms, noted.paymentIntent)
}

/** Stripe will not charge it, and that is no decline: the card was detached meanwhile, for example. */
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

/** A declined intent could still be paid by another card, so it is closed. */
async function closeDeclined(deps: PayDeps, ref: PurchaseRef, number: number): Promise<void> {
  const { attempt, purchase } = await withTenant(deps.db, ref, async (trx) => ({
    attempt: await findAttempt(trx, ref, number),
    purchase: await findPurchase(trx, ref),
  }))
  if (attempt?.payment !== 'failed' || attempt.paymentIntentId === null) return
  await deps.gateway.closeIntent(ref.conferenceId, attempt.paymentIntentId)
  if (purchase?.failure?.code !== AUTHENTICATION_REQUIRED) return
  const detail = 'The bank wants the payer to be there. Nothing was charged: use checkout.'
  throw new BulkPurchaseError('authentication_required', detail)
}
