import { AppError, afterWrite } from '../shared/errors.ts'
import { isPayable } from './attempt-machine.ts'
import type { ReturnUrls } from './payable.ts'
import {
  type AttemptRequest,
  type ChosenAttempt,
  type Payable,
  type PaymentFlowDeps,
  paymentInProgress,
  refusalError,
} from './payable.ts'
import {
  type OpenedSession,
  type RefusedResult,
  refusedFailure,
  type SavedCard,
} from './payment-gateway.ts'
import type { CardAttempt, CheckoutAttempt, Failure, PaymentAttempt } from './payment-records.ts'
import { PAYMENT_CANCELED } from './plan-records.ts'

/** A refused attempt is followed by another one this often; then the refusal goes to the caller. */
const MAX_NEW_ATTEMPTS = 1

/**
 * Opens the payment page: the session of attempt `number`, or of the one after it if that one ended
 * meanwhile. Safe to repeat after a crash at any line.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_refused`, `stripe_…`
 */
export async function openPaymentPage(
  deps: PaymentFlowDeps,
  payable: Payable,
  chosen: ChosenAttempt,
  urls: ReturnUrls,
): Promise<OpenedSession> {
  let { number, inserted } = chosen
  for (let refusals = 0; ; number += 1, inserted = null) {
    const request = { kind: 'checkout', urls } as const
    const attempt = inserted ?? (await obtainAttempt(deps, payable, number, request))
    if (attempt.kind !== 'checkout' || !isPayable(attempt)) continue
    const result = await openSession(deps, payable, attempt, inserted !== null)
    if (result.kind === 'opened') return result.session
    if (result.kind === 'ended') continue
    if (refusals === MAX_NEW_ATTEMPTS || !needsNewAttempt(deps, attempt, result)) {
      throw refusalError(result)
    }
    refusals += 1
  }
}

// https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-expires_at
const STRIPE_MIN_LIFETIME_SECONDS = 30 * 60

/** Whether only this attempt is refused: Stripe stored an error under its key, or `expiresAt` is too near. */
function needsNewAttempt(
  { clock }: PaymentFlowDeps,
  { params: { expiresAt } }: CheckoutAttempt,
  { storedError }: RefusedResult,
): boolean {
  const now = clock.now().getTime() / 1000
  return storedError || (expiresAt !== null && expiresAt < now + STRIPE_MIN_LIFETIME_SECONDS)
}

/** Attempt `number`. If it does not exist, the one before it is closed and this one inserted. */
async function obtainAttempt(
  deps: PaymentFlowDeps,
  payable: Payable,
  number: number,
  request: AttemptRequest,
): Promise<PaymentAttempt> {
  const found = (await payable.listAttempts()).find(({ attempt }) => attempt === number)
  if (found !== undefined) return found
  // Check the card before an open payment page is closed for it.
  if (request.kind === 'saved_card') await payable.chooseCard(request.named)
  await closeAttempt(deps, payable, number - 1, 'EXPIRED')
  return payable.insertAttempt(number, request)
}

type SessionResult = { kind: 'opened'; session: OpenedSession } | { kind: 'ended' } | RefusedResult

/**
 * Opens the attempt's session at Stripe and stores it, unless the attempt has one. Two parallel calls,
 * or a call after a crash, get the same session.
 */
async function openSession(
  deps: PaymentFlowDeps,
  payable: Payable,
  attempt: CheckoutAttempt,
  isNew: boolean,
): Promise<SessionResult> {
  const stored = storedSession(attempt)
  if (stored !== null) return { kind: 'opened', session: stored }
  const result = await deps.gateway.openCheckout(payable.owner, attempt, {
    customer: await payable.customer(),
    askedBefore: !isNew,
  })
  if (result.kind === 'refused') {
    const { attempt: after } = await refuse(payable, attempt.attempt, refusedFailure(result))
    return after.state === 'refused' ? result : { kind: 'ended' }
  }
  const { session, status } = result
  const event = status === 'expired' ? 'EXPIRED' : 'OPENED'
  const opened = { attempt: attempt.attempt, event, changes: session } as const
  const { attempt: after } = await payable.apply(opened)
  if (status !== 'open') {
    // A lost page that was found, but cannot be paid any more.
    if (status === 'complete') await payable.reconcile({ sessionIds: [session.sessionId] })
    return { kind: 'ended' }
  }
  const saved = storedSession(after)
  // It was closed here meanwhile, or a parallel request with another API key made and stored another one.
  if (saved?.sessionId !== session.sessionId) {
    await closeSession(deps, payable, session.sessionId)
  }
  return saved === null ? { kind: 'ended' } : { kind: 'opened', session: saved }
}

/** Stores why Stripe refused to make an attempt's object, or to charge it. */
function refuse(
  payable: Payable,
  attempt: number,
  failure: Failure,
  from: 'creating' | 'open' = 'creating',
) {
  return payable.apply({ attempt, event: 'REFUSED', changes: { failure } }, [from])
}

/** Null while the attempt is `creating`, even if a webhook already stored its session. */
function storedSession({ state, sessionId, url, expiresAt }: PaymentAttempt): OpenedSession | null {
  if (state !== 'open' || sessionId === null || expiresAt === null) return null
  return { sessionId, url, expiresAt }
}

/**
 * The snapshot names the session and its payment, because no attempt of ours may show them any more.
 *
 * @throws AppError `payment_in_progress` if the payer completed it first.
 */
async function closeSession(
  { gateway }: PaymentFlowDeps,
  payable: Payable,
  sessionId: string,
): Promise<void> {
  const end = await gateway.closeCheckout(payable.owner.conferenceId, sessionId)
  if (end.status === 'expired') return
  const paymentIntents = end.paymentIntent === null ? [] : [end.paymentIntent]
  await payable.reconcile({ sessionIds: [sessionId], paymentIntents })
  throw paymentInProgress(
    'The payer has just completed the checkout. Get the object again to see its status.',
  )
}

/**
 * Closes an attempt at Stripe and then here, so that it can no longer be paid. If its session is unknown,
 * the session is first opened under the attempt's key: that returns the session to close. An intent is
 * stored before it is confirmed, so a card attempt without one cannot be charged and is only closed here.
 *
 * @throws AppError `payment_in_progress` if it was paid first.
 */
export async function closeAttempt(
  deps: PaymentFlowDeps,
  payable: Payable,
  number: number,
  event: 'EXPIRED' | 'CANCELLED',
): Promise<void> {
  const attempt = (await payable.listAttempts()).find((one) => one.attempt === number)
  if (attempt === undefined) return
  if (attempt.kind === 'saved_card' && attempt.state === 'failed') {
    // Another card could still pay a declined intent.
    return closeIntent(deps, payable, attempt.paymentIntentId)
  }
  if (attempt.kind === 'checkout' && attempt.state === 'cancelled') {
    // The timer may have died between its decision and its request to Stripe: see closeUnseenSession.
    if (attempt.sessionId !== null) await closeSession(deps, payable, attempt.sessionId)
    return
  }
  if (!isPayable(attempt)) return
  if (attempt.kind === 'saved_card') return closeCard(deps, payable, attempt)
  const opened = await openSession(deps, payable, attempt, false)
  if (opened.kind !== 'opened') return
  await closeSession(deps, payable, opened.session.sessionId)
  await payable.apply({ attempt: number, event })
}

async function closeCard(
  deps: PaymentFlowDeps,
  payable: Payable,
  { attempt, paymentIntentId }: CardAttempt,
): Promise<void> {
  const failure = PAYMENT_CANCELED
  const input = { attempt, event: 'CANCELLED', changes: { failure } } as const
  if (paymentIntentId !== null) {
    await closeIntent(deps, payable, paymentIntentId)
    await payable.apply(input)
    return
  }
  const closed = await payable.apply(input, ['creating'])
  // A parallel request may have stored the intent meanwhile: then it is closed too.
  if (!closed.isChange) await closeAttempt(deps, payable, attempt, 'CANCELLED')
}

async function closeIntent(
  { gateway }: PaymentFlowDeps,
  payable: Payable,
  paymentIntent: string | null,
): Promise<void> {
  if (paymentIntent === null) return
  const end = await gateway.closeIntent(payable.owner.conferenceId, paymentIntent)
  if (end === 'canceled') return
  await payable.reconcile()
  throw paymentInProgress('The card has just been charged. Get the object again to see its status.')
}

/**
 * Charges a saved card. Safe to repeat after a crash at any line: the intent is created without
 * confirming it, stored, and then confirmed by its id, and an intent can be paid only once. After each
 * response of Stripe, or none, a snapshot is fetched, and only that says what happened.
 *
 * @returns the attempt afterwards; a declined one has `failed`, and its intent is closed.
 * @throws AppError `no_payment_method`, `validation_failed`, `payment_in_progress`, `stripe_refused`;
 *   `stripe_key_rejected`, `stripe_unavailable` and `stripe_failed` after an unknown outcome: a retry or
 *   a snapshot finds it out.
 */
export async function payWithSavedCard(
  deps: PaymentFlowDeps,
  payable: Payable,
  chosen: ChosenAttempt,
  named: string | null,
): Promise<PaymentAttempt> {
  const { attempt: number } = await prepareIntent(deps, payable, chosen, named)
  await confirmIntent(deps, payable, number)
  const after = asCard(await findAttempt(payable, number))
  if (after.state === 'failed') await closeIntent(deps, payable, after.paymentIntentId)
  return after
}

async function findAttempt(payable: Payable, number: number): Promise<PaymentAttempt> {
  const attempt = (await payable.listAttempts()).find((one) => one.attempt === number)
  if (attempt === undefined) throw new Error(`Attempt ${number} of ${payable.owner.id} is missing`)
  return attempt
}

/** The attempt with its intent stored. After a stored error, one more attempt is made with a new key. */
async function prepareIntent(
  deps: PaymentFlowDeps,
  payable: Payable,
  chosen: ChosenAttempt,
  named: string | null,
): Promise<CardAttempt> {
  let { number, inserted } = chosen
  for (let refusals = 0; ; number += 1, inserted = null) {
    const request = { kind: 'saved_card', named } as const
    const attempt = inserted ?? (await obtainAttempt(deps, payable, number, request))
    if (attempt.kind !== 'saved_card') {
      throw paymentInProgress(
        'Another request has just opened a payment page. Get the object again to see its status.',
      )
    }
    if (attempt.state === 'refused') continue
    if (attempt.state !== 'creating') return attempt
    const result = await openIntent(deps, payable, attempt, inserted !== null)
    if (result.kind === 'opened') return result.attempt
    if (!result.storedError || refusals === MAX_NEW_ATTEMPTS) throw refusalError(result)
    refusals += 1
  }
}

async function openIntent(
  deps: PaymentFlowDeps,
  payable: Payable,
  attempt: CardAttempt,
  isNew: boolean,
): Promise<{ kind: 'opened'; attempt: CardAttempt } | RefusedResult> {
  const card = await chooseAndStoreCard(payable, attempt)
  const result = await deps.gateway.openIntent(payable.owner, attempt, {
    card,
    askedBefore: !isNew,
  })
  if (result.kind === 'refused') {
    const refused = await refuse(payable, attempt.attempt, refusedFailure(result))
    if (refused.attempt.state === 'refused') return result
    return { kind: 'opened', attempt: asCard(refused.attempt) }
  }
  const { paymentIntent } = result
  const changes = { paymentIntentId: paymentIntent }
  const opened = await payable.apply({ attempt: attempt.attempt, event: 'OPENED', changes })
  if (opened.isChange || opened.attempt.paymentIntentId === paymentIntent) {
    return { kind: 'opened', attempt: asCard(opened.attempt) }
  }
  // It was closed here while Stripe was asked: an intent that is not confirmed charges nothing.
  await closeIntent(deps, payable, paymentIntent)
  throw paymentInProgress('Another request closed this payment. Get the object again, then retry.')
}

function asCard(attempt: PaymentAttempt): CardAttempt {
  if (attempt.kind !== 'saved_card') throw new Error('An attempt never changes its kind')
  return attempt
}

/** The card is stored before Stripe is asked: the default may change before a retry. */
async function chooseAndStoreCard(payable: Payable, attempt: CardAttempt): Promise<SavedCard> {
  try {
    const card = await payable.chooseCard(attempt.paymentMethod ?? attempt.params.named)
    await payable.note(attempt.attempt, ['creating'], { payment_method: card.paymentMethod })
    return card
  } catch (error) {
    if (error instanceof AppError && error.status < 500) {
      await refuse(payable, attempt.attempt, { code: error.code, message: error.message })
    }
    throw error
  }
}

/** @throws AppError if the outcome is unknown after a snapshot, or if Stripe refuses to charge. */
async function confirmIntent(
  deps: PaymentFlowDeps,
  payable: Payable,
  number: number,
): Promise<void> {
  const before = await findAttempt(payable, number)
  // An earlier request confirmed it and may have died: only Stripe knows the outcome.
  if (before.confirms > 0) await payable.reconcile()
  const error = await confirmOnce(deps, payable, number)
  await afterWrite(() => payable.reconcile())
  if (error === null) return
  const after = await findAttempt(payable, number)
  if (after.state !== 'open') return
  if (error instanceof AppError && error.code === 'stripe_refused') {
    // No decline, but the intent cannot be charged: for example, the card was detached meanwhile.
    await closeIntent(deps, payable, after.paymentIntentId)
    await refuse(payable, number, { code: error.code, message: error.message }, 'open')
  }
  throw error
}

/** @returns the error; null if there was none, or nothing to confirm. */
async function confirmOnce(
  { gateway }: PaymentFlowDeps,
  payable: Payable,
  number: number,
): Promise<unknown> {
  const { state, paymentIntentId, confirms } = await findAttempt(payable, number)
  if (state !== 'open' || paymentIntentId === null) return null
  // Another payment arrived meanwhile: a job closes this attempt.
  if (await payable.isPaid()) return null
  // Counted before the request, and only while the attempt is open: one that was closed is not charged.
  const isOpen = await payable.note(number, ['open'], { confirms: confirms + 1 })
  if (!isOpen) return null
  return gateway.confirmIntent(payable.owner, number, confirms + 1, paymentIntentId)
}

/**
 * Closes an attempt that no request continues, or that is open although its owner is paid. One without a
 * session was left by a process that died between Stripe's response and our commit: the session is found
 * or opened under the same key. First the attempt is marked here as closed, which fails if a caller was given the URL
 * meanwhile; then Stripe is asked to expire the session. The snapshot at the end finds a payment that was faster.
 */
export async function finishStaleAttempt(
  deps: PaymentFlowDeps,
  payable: Payable,
  number: number,
): Promise<void> {
  const attempt = (await payable.listAttempts()).find((one) => one.attempt === number)
  if (attempt === undefined) return
  try {
    if (attempt.kind === 'saved_card') await closeAttempt(deps, payable, number, 'CANCELLED')
    else if (attempt.state !== 'open') await closeUnseenSession(deps, payable, attempt)
    else if (await payable.isPaid()) await closeAttempt(deps, payable, number, 'EXPIRED')
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'payment_in_progress')) throw error
  }
  await payable.reconcile()
}

async function closeUnseenSession(
  deps: PaymentFlowDeps,
  payable: Payable,
  attempt: CheckoutAttempt,
): Promise<void> {
  // An earlier run may have died after its decision.
  if (attempt.state === 'cancelled' && attempt.sessionId !== null) {
    return closeSession(deps, payable, attempt.sessionId)
  }
  if (attempt.state !== 'creating') return
  const result = await deps.gateway.openCheckout(payable.owner, attempt, {
    customer: await payable.customer(),
    askedBefore: true,
  })
  if (result.kind === 'refused') {
    await refuse(payable, attempt.attempt, refusedFailure(result))
    return
  }
  const { session } = result
  const input = { attempt: attempt.attempt, event: 'CANCELLED', changes: session } as const
  const { attempt: after, isChange } = await payable.apply(input, ['creating'])
  if (isChange || after.sessionId !== session.sessionId) {
    await closeSession(deps, payable, session.sessionId)
  }
}
