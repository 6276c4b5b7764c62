import { withTenant } from '../../db/tenant-scope.ts'
import type { ReturnUrls } from '../../payments/payable.ts'
import type { OpenedSession } from '../../payments/payment-gateway.ts'
import { AppError } from '../../shared/errors.ts'
import {
  type CreateIntentResult,
  confirmIntent,
  createIntent,
} from '../../stripe/payment-requests.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { chooseCard } from '../customers/saved-cards.ts'
import { type ChargeAttempt, findAttempt, updateAttempt } from './charge-attempt-store.ts'
import { closeChargeAttempt, obtainChargeAttempt, startChargeAttempt } from './charge-attempts.ts'
import { chargeMetadata, openChargeCheckout } from './charge-checkout-session.ts'
import { type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { AUTHENTICATION_REQUIRED, reconcileCharge, updateChargeStatus } from './reconcile-charge.ts'

/**
 * Charges a saved card. Needs only the number of the attempt, so it can be retried after a crash at
 * any line: the intent is created unconfirmed, its id is saved, and then it is confirmed by that id. An
 * intent can be paid only once. The intent is fetched afterwards, whether or not Stripe responded.
 *
 * A decline ends the attempt and is not an error. When the bank requires the payer to authenticate, the
 * intent is canceled; a charge with return URLs gets a Checkout session instead.
 *
 * @param named - the payment method in the request, or null.
 * @throws AppError `no_payment_method`, `validation_failed`, `payment_in_progress`, `stripe_refused`;
 *   `stripe_unavailable` and `stripe_failed` after an unknown outcome: the charge stays open.
 */
export async function chargeSavedCard(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  named: string | null,
  actorId: string,
): Promise<void> {
  const attempt = await prepareAttempt(deps, ref, number, named, actorId)
  await confirmAttempt(deps, ref, attempt)
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt.attempt))
  if (after?.state === 'declined') await closeDeclined(deps, ref, after, actorId)
}

/** The attempt with a saved intent. After a stored error, one more attempt is made with a new key. */
async function prepareAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  named: string | null,
  actorId: string,
): Promise<ChargeAttempt> {
  const params = { kind: 'payment_intent', paymentMethod: named } as const
  const prepare = async (from: number) => {
    const attempt = await obtainChargeAttempt(deps, ref, from, params, actorId)
    return attempt.state === 'creating' ? createAttemptIntent(deps, ref, attempt) : attempt
  }
  const first = await prepare(number)
  const attempt = first.state === 'refused' ? await prepare(first.attempt + 1) : first
  if (attempt.state !== 'refused') return attempt
  const detail = 'Stripe stored an error under this idempotency key. Retry the request.'
  throw new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** Creates the intent and saves its id. @returns the updated attempt; `refused` for a stored error. */
async function createAttemptIntent(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<ChargeAttempt> {
  let result: CreateIntentResult
  try {
    result = await requestIntent(deps, ref, attempt)
  } catch (error) {
    // This service refused it, for example without a saved card. Another attempt may name one.
    if (error instanceof AppError && error.status < 500) {
      await saveRefused(deps, ref, attempt, error.code, error.message)
    }
    throw error
  }
  if (result.kind === 'refused') {
    await saveRefused(deps, ref, attempt, 'stripe_refused', result.message)
    if (result.storedError) return { ...attempt, state: 'refused' }
    throw new AppError('stripe_refused', result.message)
  }
  const { paymentIntent } = result
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const changes = { state: 'unconfirmed', payment_intent_id: paymentIntent } as const
    await updateAttempt(trx, ref, attempt.attempt, changes, ['creating'])
    return assertExists(await findAttempt(trx, ref, attempt.attempt), ref)
  })
}

async function requestIntent(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<CreateIntentResult> {
  const charge = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  const named = attempt.params.kind === 'payment_intent' ? attempt.params.paymentMethod : null
  const wanted = attempt.paymentMethod ?? named ?? charge.paymentMethod
  const card = await chooseCard(deps, ref.conferenceId, charge.sponsorId, wanted)
  // Saved before the request: the customer's default may change before a retry.
  await withTenant(deps.db, ref, (trx) =>
    updateAttempt(trx, ref, attempt.attempt, { payment_method: card.paymentMethod }, ['creating']),
  )
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const params = { ...charge, ...card, metadata: chargeMetadata(charge, attempt.attempt) }
  return createIntent(stripe, params, `${attempt.idempotencyKey}:create`)
}

async function saveRefused(
  deps: ChargeDeps,
  ref: ChargeRef,
  { attempt, state }: ChargeAttempt,
  code: string,
  message: string,
): Promise<void> {
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    const changes = { state: 'refused', failure_code: code, failure_message: message } as const
    await updateAttempt(trx, ref, attempt, changes, [state])
    await updateChargeStatus(trx, charge)
  })
}

function assertExists(attempt: ChargeAttempt | null, ref: ChargeRef): ChargeAttempt {
  if (attempt === null) throw new Error(`An attempt of ${ref.chargeId} no longer exists`)
  return attempt
}

/**
 * Confirms the intent unless it was confirmed already, and fetches the outcome.
 *
 * @throws AppError when the outcome is still unknown, or when Stripe refuses to charge the intent.
 */
async function confirmAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<void> {
  // An earlier request sent a confirmation and may have died: fetch the outcome first.
  if (attempt.state === 'confirming') await reconcileCharge(deps, ref)
  const error = await confirmOnce(deps, ref, attempt.attempt)
  await reconcileCharge(deps, ref)
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt.attempt))
  if (after?.state !== 'confirming' || error === null) return
  if (error instanceof AppError && error.code === 'stripe_refused') {
    // No decline, but the intent cannot be charged: the card was detached in the meantime, for example.
    await closeChargeAttempt(deps, ref, after.attempt)
    await saveRefused(deps, ref, after, error.code, error.message)
  }
  throw error
}

/** @returns the error; null for none, or when there was nothing to confirm. */
async function confirmOnce(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<unknown> {
  const next = await withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const attempt = assertExists(await findAttempt(trx, ref, number), ref)
    if (attempt.state !== 'unconfirmed' && attempt.state !== 'confirming') return null
    const confirms = attempt.confirms + 1
    await updateAttempt(trx, ref, number, { state: 'confirming', confirms })
    return { intent: attempt.paymentIntentId, key: `${attempt.idempotencyKey}:confirm:${confirms}` }
  })
  if (next === null || next.intent === null) return null
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  return confirmIntent(stripe, next.intent, next.key)
}

/**
 * Cancels the intent of a declined attempt, since another card could still pay it. If the bank requires
 * the payer to authenticate, opens a Checkout session instead.
 */
async function closeDeclined(
  deps: ChargeDeps,
  ref: ChargeRef,
  { attempt, failure }: ChargeAttempt,
  actorId: string,
): Promise<void> {
  await closeChargeAttempt(deps, ref, attempt)
  const charge = await withTenant(deps.db, ref, async (trx) => {
    const locked = await lockCharge(trx, ref)
    await updateAttempt(trx, ref, attempt, { state: 'canceled' }, ['declined'])
    await updateChargeStatus(trx, locked)
    return locked
  })
  if (failure?.code !== AUTHENTICATION_REQUIRED) return
  const { successUrl, cancelUrl } = charge
  if (successUrl === null || cancelUrl === null) return
  const urls = { successUrl, cancelUrl }
  const number = await withTenant(deps.db, ref, (trx) =>
    startChargeAttempt(trx, ref, { kind: 'checkout', urls }, actorId),
  )
  await checkoutCharge(deps, ref, number, urls, actorId)
}

/**
 * Opens the Checkout session where the payer pays the charge. Needs only the number of the attempt. A
 * previous attempt that could still be paid is closed first.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_…`
 */
export async function checkoutCharge(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  urls: ReturnUrls,
  actorId: string,
): Promise<OpenedSession> {
  const attempt = await obtainChargeAttempt(deps, ref, number, { kind: 'checkout', urls }, actorId)
  const opened = await openChargeCheckout(deps, ref, attempt)
  if (opened.kind === 'refused') throw new AppError('stripe_refused', opened.message)
  return opened.session
}
