import { withTenant } from '../../db/tenant-scope.ts'
import type { ReturnUrls } from '../../payments/return-urls.ts'
import { AppError } from '../../shared/errors.ts'
import {
  type CreateIntentResult,
  confirmIntent,
  createIntent,
} from '../../stripe/off-session-intent.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { chooseCard } from '../customers/saved-cards.ts'
import { type ChargeAttempt, findAttempt, updateAttempt } from './charge-attempt-store.ts'
import { closeChargeAttempt, obtainChargeAttempt, startChargeAttempt } from './charge-attempts.ts'
import { chargeMetadata, openChargeCheckout } from './charge-checkout-session.ts'
import { type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { AUTHENTICATION_REQUIRED, reconcileCharge, updateChargeStatus } from './reconcile-charge.ts'

/**
 * Charges a saved card, from the number of the try alone. May be repeated after a crash at any line:
 * the intent is made unconfirmed and its id noted, then it is confirmed by that id, and an intent
 * can only be paid once. Whatever Stripe answers, or does not, the intent is read afterwards.
 *
 * Declined is an end of this try and no error. When the bank asks for the payer, the intent is closed
 * and, where the charge knows where the payer is to return to, a Checkout link is opened.
 *
 * @param named the payment method that this request asked for.
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

/** The try with its intent noted. One that Stripe only keeps an error for is followed by another, once. */
async function prepareAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  named: string | null,
  actorId: string,
): Promise<ChargeAttempt> {
  const params = { kind: 'payment_intent', paymentMethod: named } as const
  const take = async (from: number) => {
    const taken = await obtainChargeAttempt(deps, ref, from, params, actorId)
    return taken.state === 'creating' ? createAttemptIntent(deps, ref, taken) : taken
  }
  const first = await take(number)
  const attempt = first.state === 'refused' ? await take(first.attempt + 1) : first
  if (attempt.state !== 'refused') return attempt
  const detail = 'Stripe failed and keeps that answer. Ask once more.'
  throw new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** Makes the intent and notes its id. @returns the try as it is then; `refused` for a stored error. */
async function createAttemptIntent(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<ChargeAttempt> {
  let made: CreateIntentResult
  try {
    made = await requestIntent(deps, ref, attempt)
  } catch (error) {
    // A refusal of ours, such as no card: another try may choose one.
    if (error instanceof AppError && error.status < 500) {
      await markRefused(deps, ref, attempt, error.code, error.message)
    }
    throw error
  }
  if (made.kind === 'refused') {
    await markRefused(deps, ref, attempt, 'stripe_refused', made.message)
    if (made.storedError) return { ...attempt, state: 'refused' }
    throw new AppError('stripe_refused', made.message)
  }
  const { paymentIntent } = made
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const changes = { state: 'unconfirmed', payment_intent_id: paymentIntent } as const
    await updateAttempt(trx, ref, attempt.attempt, changes, ['creating'])
    return assertAttempt(await findAttempt(trx, ref, attempt.attempt), ref)
  })
}

function assertAttempt(attempt: ChargeAttempt | null, ref: ChargeRef): ChargeAttempt {
  if (attempt === null) throw new Error(`A try of ${ref.chargeId} is gone`)
  return attempt
}

async function requestIntent(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<CreateIntentResult> {
  const charge = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  const asked = attempt.params.kind === 'payment_intent' ? attempt.params.paymentMethod : null
  const wanted = attempt.paymentMethod ?? asked ?? charge.paymentMethod
  const card = await chooseCard(deps, ref.conferenceId, charge.sponsorId, wanted)
  // Noted before Stripe is asked: the default may change until a repeat.
  await withTenant(deps.db, ref, (trx) =>
    updateAttempt(trx, ref, attempt.attempt, { payment_method: card.paymentMethod }, ['creating']),
  )
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const order = {
    ...charge,
    ...card,
    metadata: chargeMetadata(charge, attempt.attempt),
  }
  return createIntent(stripe, order, `${attempt.idempotencyKey}:create`)
}

async function markRefused(
  deps: ChargeDeps,
  ref: ChargeRef,
  { attempt }: ChargeAttempt,
  code: string,
  message: string,
): Promise<void> {
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    const changes = { state: 'refused', failure_code: code, failure_message: message } as const
    await updateAttempt(trx, ref, attempt, changes, ['creating'])
    await updateChargeStatus(trx, charge)
  })
}

/**
 * Confirms the intent unless it was confirmed already, and reads what came of it.
 *
 * @throws AppError when the outcome is not known after that, or Stripe refuses to charge at all.
 */
async function confirmAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<void> {
  // Somebody asked before us and may have died: only Stripe knows what came of it.
  if (attempt.state === 'confirming') await reconcileCharge(deps, ref)
  const error = await confirmOnce(deps, ref, attempt.attempt)
  await reconcileCharge(deps, ref)
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt.attempt))
  if (after?.state !== 'confirming' || error === null) return
  if (error instanceof AppError && error.code === 'stripe_refused') {
    await closeRefused(deps, ref, after, error)
  }
  throw error
}

/** @returns what went wrong; null when nothing did, or there was nothing to confirm. */
async function confirmOnce(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<unknown> {
  const noted = await withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const now = assertAttempt(await findAttempt(trx, ref, number), ref)
    if (now.state !== 'unconfirmed' && now.state !== 'confirming') return null
    const confirms = now.confirms + 1
    await updateAttempt(trx, ref, number, { state: 'confirming', confirms })
    return { intent: now.paymentIntentId, key: `${now.idempotencyKey}:confirm:${confirms}` }
  })
  if (noted === null || noted.intent === null) return null
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  return confirmIntent(stripe, noted.intent, noted.key)
}

/** Stripe will not charge it, and that is no decline: the card was detached meanwhile, for example. */
async function closeRefused(
  deps: ChargeDeps,
  ref: ChargeRef,
  { attempt }: ChargeAttempt,
  error: AppError,
): Promise<void> {
  await closeChargeAttempt(deps, ref, attempt)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    const changes = {
      state: 'refused',
      failure_code: error.code,
      failure_message: error.message,
    } as const
    await updateAttempt(trx, ref, attempt, changes, ['confirming'])
    await updateChargeStatus(trx, charge)
  })
}

/**
 * A declined intent could still be paid by another card, so it is closed. Where the bank asked for
 * the payer, a link takes its place.
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
  await finishChargeCheckout(deps, ref, number, urls, actorId)
}

export type ChargeCheckout = { url: string | null; session_id: string; expires_at: Date }

/**
 * The link by which the payer pays the charge in person, from the number of the try alone; whatever
 * might be paid in its place is closed first.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_…`
 */
export async function finishChargeCheckout(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  urls: ReturnUrls,
  actorId: string,
): Promise<ChargeCheckout> {
  const attempt = await obtainChargeAttempt(deps, ref, number, { kind: 'checkout', urls }, actorId)
  const opened = await openChargeCheckout(deps, ref, attempt)
  if (opened.kind === 'refused') throw new AppError('stripe_refused', opened.message)
  return { url: opened.url, session_id: opened.sessionId, expires_at: opened.expiresAt }
}
