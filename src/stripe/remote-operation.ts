import { setTimeout as delay } from 'node:timers/promises'
import Stripe from 'stripe'
import { afterWrite } from '../shared/errors.ts'
import {
  callStripe,
  classifyStripeError,
  isRefusal,
  isStoredError,
  type Refusal,
  type StripeErrorKind,
  toAppError,
  toRefusal,
} from './stripe-errors.ts'

/** What is known about an operation that makes something at Stripe. An unknown outcome is thrown. */
export type Outcome<T> = { kind: 'made'; object: T } | Refusal

export type RemoteOperation<T> = {
  idempotencyKey: string
  /**
   * Whether a request under this key may have been sent before: by an earlier run of the operation that
   * failed or died, or by a parallel one. False only for the run that stored the intent.
   */
  askedBefore: boolean
  /** Sends the request with these options. Must throw the SDK's errors unchanged. */
  send: (options: Stripe.RequestOptions) => Promise<T>
  /** The object that an earlier request made, as Stripe shows it now, or null. */
  find: () => Promise<T | null>
}

/** Requests in all when Stripe does not respond, is busy or fails. The SDK's default is the same. */
const MAX_REQUESTS = 3
const BACKOFF_MS = 500

/**
 * Makes something at Stripe once. The caller has stored the intent and its idempotency key in a commit,
 * and stores the outcome afterwards.
 *
 * Stripe's answer proves that nothing was made only if it refuses the first request under the key. So
 * the SDK must not repeat the request by itself: it would report the refusal of the repeat as if it were
 * the first answer. After any other answer, Stripe is asked what it shows.
 *
 * @returns `refused` only if nothing was made.
 * @throws AppError `stripe_key_rejected`, `stripe_unavailable`, `stripe_failed` after an unknown outcome:
 *   run it again with the same key and `askedBefore`.
 * @see https://docs.stripe.com/error-low-level
 */
export async function makeOnce<T>(operation: RemoteOperation<T>): Promise<Outcome<T>> {
  const { send, idempotencyKey, askedBefore } = operation
  // Stripe forgets an idempotency key after a day, and a new API key may not know the old one's keys.
  const existing = askedBefore ? await findMade(operation) : null
  if (existing !== null) return existing
  let isFirst = !askedBefore
  for (let requests = 1; ; requests += 1) {
    try {
      return { kind: 'made', object: await send({ idempotencyKey, maxNetworkRetries: 0 }) }
    } catch (error) {
      const kind = classifyStripeError(error)
      if (isRefusal(error) || isStoredError(error)) {
        const isProof = isFirst && kind === 'refused'
        return (isProof ? null : await findMade(operation)) ?? toRefusal(error)
      }
      if (requests === MAX_REQUESTS || !isWorthRepeating(error, kind)) throw toAppError(error)
      isFirst = false
      await delay(BACKOFF_MS * requests * (0.5 + Math.random() / 2))
    }
  }
}

/** Stripe may say so itself. @see https://docs.stripe.com/error-low-level */
function isWorthRepeating(error: unknown, kind: StripeErrorKind | null): boolean {
  const advice =
    error instanceof Stripe.errors.StripeError ? error.headers?.['stripe-should-retry'] : undefined
  const isTemporary = kind === 'no_response' || kind === 'busy' || kind === 'failed'
  return isTemporary && advice !== 'false'
}

/** Whether Stripe repeated its answer to an earlier request under the same key: it may be stale. */
export function isReplayed(response: object): boolean {
  const { lastResponse } = response as Partial<Pick<Stripe.Response<object>, 'lastResponse'>>
  return lastResponse?.headers['idempotent-replayed'] === 'true'
}

async function findMade<T>({ find }: RemoteOperation<T>): Promise<Outcome<T> | null> {
  const object = await afterWrite(() => callStripe(find))
  return object === null ? null : { kind: 'made', object }
}
