import type { Conference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import type { IdempotencyRunner } from '../db/idempotency-runner.ts'
import { AppError, type FieldError, invalidFields } from '../shared/errors.ts'
import type { Clock } from '../shared/time.ts'
import { type AttemptState, isPayable } from './attempt-machine.ts'
import type { SnapshotHints } from './fetch-owned-snapshot.ts'
import type { PaymentGateway, RefusedResult, SavedCard } from './payment-gateway.ts'
import type {
  PaymentAttempt,
  PaymentOwner,
  PaymentRecords,
  StoredPayment,
} from './payment-records.ts'
import type { AttemptInput } from './plan-records.ts'

/** What a caller wants to pay with. */
export type AttemptRequest =
  | { kind: 'checkout'; urls: ReturnUrls }
  /** `named`: the payment method that the caller named. Null: the default. */
  | { kind: 'saved_card'; named: string | null }

/**
 * A purchase or a charge, as these flows use it. `apply` and `insertAttempt` are one short
 * transaction each, under its lock; `note` is one guarded statement.
 */
export type Payable = {
  owner: PaymentOwner
  listAttempts(): Promise<PaymentAttempt[]>
  /**
   * Applies a fact about an attempt, and everything that follows from it.
   *
   * @param from what states the attempt may be in; default: all that its machine accepts.
   * @returns the attempt afterwards, and whether the fact changed it.
   */
  apply(
    input: AttemptInput,
    from?: readonly AttemptState[],
  ): Promise<{ attempt: PaymentAttempt; isChange: boolean }>
  /**
   * Inserts attempt `number`, or returns it if a parallel request inserted it.
   *
   * @throws AppError `wrong_state`, `payment_in_progress` if no attempt may be made now.
   */
  insertAttempt(number: number, request: AttemptRequest): Promise<PaymentAttempt>
  /** Stores a chosen card, or counts a confirm request. False: the attempt is in another state. */
  note(
    number: number,
    from: readonly AttemptState[],
    notes: { payment_method?: string; confirms?: number },
  ): Promise<boolean>
  /** Whether it is paid, so that nothing may be paid any more. */
  isPaid(): Promise<boolean>
  /** Fetches a snapshot and applies it. */
  reconcile(hints?: SnapshotHints): Promise<unknown>
  /** Stripe's id of the customer for a Checkout session, or null. */
  customer(): Promise<string | null>
  /** @throws AppError `no_payment_method`, `validation_failed` */
  chooseCard(named: string | null): Promise<SavedCard>
}

export type PaymentFlowDeps = { gateway: PaymentGateway; clock: Clock }

/** The attempt that a request uses. `inserted`: this request inserted it, so Stripe was not asked before. */
export type ChosenAttempt = { number: number; inserted: PaymentAttempt | null }

/**
 * Both ways to pay: `begin` chooses the attempt in the request's transaction, then `finish` asks Stripe. A
 * repeat does not begin again, so `inserted` is null: an earlier run may have asked Stripe.
 */
export function resumePayment<T>(
  idempotency: IdempotencyRunner,
  begin: (trx: Tx) => Promise<ChosenAttempt>,
  finish: (chosen: ChosenAttempt) => Promise<T>,
): Promise<T> {
  let inserted: ChosenAttempt['inserted'] = null
  return idempotency.resume({
    begin: async (trx) => {
      const chosen = await begin(trx)
      inserted = chosen.inserted
      return String(chosen.number)
    },
    finish: (number) => finish({ number: Number(number), inserted }),
  })
}

/**
 * Chooses the attempt of a request among the stored ones: the open one if it was made for the same
 * request, else the next one.
 *
 * @returns `insert`: nothing is open, so the caller inserts it in the same transaction. Otherwise the last
 *   one must first be closed at Stripe.
 */
export function chooseAttempt(
  { attempts, payments }: PaymentRecords,
  request: AttemptRequest,
  clock: Clock,
): { number: number; insert: boolean } {
  const last = attempts.at(-1)
  if (last === undefined) return { number: 1, insert: true }
  if (!isPayable(last)) {
    const mayBeOpen = isDeclinedIntentOpen(last, payments) || isCancelledPageOpen(last, clock)
    return { number: last.attempt + 1, insert: !mayBeOpen }
  }
  const number = isSameRequest(last, request, clock) ? last.attempt : last.attempt + 1
  return { number, insert: false }
}

/**
 * Whether a declined intent may still exist at Stripe, where another card could pay it: a process died
 * before it closed the intent, or no snapshot since then shows that it is closed.
 */
function isDeclinedIntentOpen(last: PaymentAttempt, payments: readonly StoredPayment[]): boolean {
  const { kind, state, paymentIntentId } = last
  if (kind !== 'saved_card' || state !== 'failed' || paymentIntentId === null) return false
  const payment = payments.find(({ paymentIntent }) => paymentIntent === paymentIntentId)
  return payment?.status !== 'canceled'
}

/** Whether the page of a cancelled attempt may still be open: the timer cancels before Stripe expires it. */
function isCancelledPageOpen({ kind, state, sessionId, expiresAt }: PaymentAttempt, clock: Clock) {
  if (kind !== 'checkout' || state !== 'cancelled' || sessionId === null) return false
  return expiresAt === null || expiresAt > clock.now()
}

function isSameRequest(last: PaymentAttempt, request: AttemptRequest, clock: Clock): boolean {
  if (last.kind === 'checkout') {
    const isAlive = last.expiresAt === null || last.expiresAt > clock.now()
    return request.kind === 'checkout' && isAlive && sameUrls(last.params, request.urls)
  }
  return (
    request.kind === 'saved_card' && (request.named === null || last.params.named === request.named)
  )
}

export function refusalError({ message, storedError }: RefusedResult): AppError {
  if (!storedError) return new AppError('stripe_refused', message)
  const detail = 'Stripe stored an error under this idempotency key. Retry the request.'
  return new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** A 409 while a payment is pending, or has arrived and staff must decide about it. */
export function paymentInProgress(detail: string): AppError {
  return new AppError('payment_in_progress', detail)
}

/** Where Stripe sends the payer afterwards. They go to Stripe unchanged (`{CHECKOUT_SESSION_ID}`). */
export type ReturnUrls = { successUrl: string; cancelUrl: string }

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

function problemOf(text: string, allowedOrigins: readonly string[]): string | null {
  if (!URL.canParse(text)) return 'must be an absolute URL'
  const url = new URL(text)
  const isSafe =
    url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
  if (!isSafe) return 'must begin with https:// (http:// only for a loopback address)'
  if (url.username !== '' || url.password !== '') return 'must not contain a user name or password'
  if (allowedOrigins.length > 0 && !allowedOrigins.includes(url.origin)) {
    return `must be on one of the conference's allowed origins: ${allowedOrigins.join(', ')}`
  }
  return null
}

/**
 * The pages of this service may always be returned to: that is where its portal is.
 *
 * @throws AppError `validation_failed` naming `/success_url` and `/cancel_url`.
 */
export function assertReturnUrls(
  urls: ReturnUrls,
  { allowedOrigins }: Conference,
  ownOrigin: string | null,
): void {
  const errors: FieldError[] = []
  for (const [pointer, text] of [
    ['/success_url', urls.successUrl],
    ['/cancel_url', urls.cancelUrl],
  ] as const) {
    const detail = isOwn(text, ownOrigin) ? null : problemOf(text, allowedOrigins)
    if (detail !== null) errors.push({ pointer, detail })
  }
  if (errors.length === 0) return
  throw invalidFields(errors)
}

/** A user name in the address would be part of what the payer sees, so it is refused there too. */
function isOwn(text: string, ownOrigin: string | null): boolean {
  if (ownOrigin === null || !URL.canParse(text)) return false
  const url = new URL(text)
  return url.origin === ownOrigin && url.username === '' && url.password === ''
}

/** Whether a payment page was opened for these URLs. */
function sameUrls(params: ReturnUrls, urls: ReturnUrls): boolean {
  return params.successUrl === urls.successUrl && params.cancelUrl === urls.cancelUrl
}
