import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import { confirmIntent, type MadeIntent, makeIntent } from '../../off-session-intent.ts'
import { chooseCard } from '../customers/change-cards.ts'
import { beginAttempt } from './begin-attempt.ts'
import type { ChargeRef } from './charge.ts'
import { type ChargeAttempt, findAttempt, updateAttempt } from './charge-attempt.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { chargeMetadata } from './charge-link.ts'
import { getCharge, lockCharge } from './charge-store.ts'
import { closeAttempt } from './close-attempt.ts'
import { finishLink } from './finish-link.ts'
import { reconcileCharge } from './reconcile-charge.ts'
import { NEEDS_PAYER, restateCharge } from './settle-charge.ts'
import { takeAttempt } from './take-attempt.ts'

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
export async function finishCharge(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  named: string | null,
  actorId: string,
): Promise<void> {
  const attempt = await notedAttempt(deps, ref, number, named, actorId)
  await confirmAttempt(deps, ref, attempt)
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt.attempt))
  if (after?.state === 'declined') await closeDeclined(deps, ref, after, actorId)
}

/** The try with its intent noted. One that Stripe only keeps an error for is followed by another, once. */
async function notedAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  named: string | null,
  actorId: string,
): Promise<ChargeAttempt> {
  const params = { kind: 'payment_intent', paymentMethod: named } as const
  const take = async (from: number) => {
    const taken = await takeAttempt(deps, ref, from, params, actorId)
    return taken.state === 'creating' ? makeAttempt(deps, ref, taken) : taken
  }
  const first = await take(number)
  const attempt = first.state === 'refused' ? await take(first.attempt + 1) : first
  if (attempt.state !== 'refused') return attempt
  const detail = 'Stripe failed and keeps that answer. Ask once more.'
  throw new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** Makes the intent and notes its id. @returns the try as it is then; `refused` for a stored error. */
async function makeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<ChargeAttempt> {
  let made: MadeIntent
  try {
    made = await askForIntent(deps, ref, attempt)
  } catch (error) {
    // A refusal of ours, such as no card: another try may choose one.
    if (error instanceof AppError && error.status < 500) {
      await refuse(deps, ref, attempt, error.code, error.message)
    }
    throw error
  }
  if (made.kind === 'refused') {
    await refuse(deps, ref, attempt, 'stripe_refused', made.message)
    if (made.storedError) return { ...attempt, state: 'refused' }
    throw new AppError('stripe_refused', made.message)
  }
  const { paymentIntent } = made
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const changes = { state: 'unconfirmed', payment_intent_id: paymentIntent } as const
    await updateAttempt(trx, ref, attempt.attempt, changes, ['creating'])
    return known(await findAttempt(trx, ref, attempt.attempt), ref)
  })
}

function known(attempt: ChargeAttempt | null, ref: ChargeRef): ChargeAttempt {
  if (attempt === null) throw new Error(`A try of ${ref.chargeId} is gone`)
  return attempt
}

async function askForIntent(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<MadeIntent> {
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
  return makeIntent(stripe, order, `${attempt.idempotencyKey}:create`)
}

async function refuse(
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
    await restateCharge(trx, charge)
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
  const error = await confirmNoted(deps, ref, attempt.attempt)
  await reconcileCharge(deps, ref)
  const after = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, attempt.attempt))
  if (after?.state !== 'confirming' || error === null) return
  if (error instanceof AppError && error.code === 'stripe_refused') {
    await giveUp(deps, ref, after, error)
  }
  throw error
}

/** @returns what went wrong; null when nothing did, or there was nothing to confirm. */
async function confirmNoted(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<unknown> {
  const noted = await withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    const now = known(await findAttempt(trx, ref, number), ref)
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
async function giveUp(
  deps: ChargeDeps,
  ref: ChargeRef,
  { attempt }: ChargeAttempt,
  error: AppError,
): Promise<void> {
  await closeAttempt(deps, ref, attempt)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    const changes = {
      state: 'refused',
      failure_code: error.code,
      failure_message: error.message,
    } as const
    await updateAttempt(trx, ref, attempt, changes, ['confirming'])
    await restateCharge(trx, charge)
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
  await closeAttempt(deps, ref, attempt)
  const charge = await withTenant(deps.db, ref, async (trx) => {
    const locked = await lockCharge(trx, ref)
    await updateAttempt(trx, ref, attempt, { state: 'canceled' }, ['declined'])
    await restateCharge(trx, locked)
    return locked
  })
  if (failure?.code !== NEEDS_PAYER) return
  const { successUrl, cancelUrl } = charge
  if (successUrl === null || cancelUrl === null) return
  const urls = { successUrl, cancelUrl }
  const number = await withTenant(deps.db, ref, (trx) =>
    beginAttempt(trx, ref, { kind: 'checkout', urls }, actorId),
  )
  await finishLink(deps, ref, number, urls, actorId)
}
