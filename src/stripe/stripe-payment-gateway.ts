import type Stripe from 'stripe'
import type { ClosedSession, PaymentGateway, RefundParams } from '../payments/payment-gateway.ts'
import type { CheckoutAttempt, PaymentOwner } from '../payments/payment-records.ts'
import { afterWrite } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { toStripeAmount } from '../shared/money.ts'
import { type FetchRecorder, fetchPaymentSnapshot } from './fetch-payment-snapshot.ts'
import { isReplayed, makeOnce, type Outcome } from './remote-operation.ts'
import type { StripeClients } from './stripe-client.ts'
import { callStripe, fetchOrNull, isRefusal, toAppError } from './stripe-errors.ts'
import {
  parseStripeObject,
  paymentIntentObject,
  refundObject,
  sessionObject,
} from './stripe-objects.ts'

/** Records one fetch. */
export type FetchRecording = FetchRecorder & {
  /** Resolves when all objects are stored, or were skipped because storing them failed. */
  settled(): Promise<void>
}

/**
 * The port to Stripe for purchases and charges. Objects fetched for a snapshot also update the mirror.
 * Idempotency keys: `bp:{id}:checkout:{attempt}`, `bp:{id}:pay:{attempt}`, `…:confirm:{n}`,
 * `bp:{id}:refund:{request}`, and the same with `charge:{id}`.
 */
export function createStripePaymentGateway(
  clients: StripeClients,
  logger: Logger,
  mirrorFeed: { begin(conferenceId: string, takenAt: number): FetchRecording },
): PaymentGateway {
  return {
    async openCheckout(owner, attempt, { customer, askedBefore }) {
      const stripe = await clients.forConference(owner.conferenceId)
      const params = sessionParams(owner, attempt, customer)
      const made = await makeOnce({
        idempotencyKey: `${keyPrefix(owner)}:checkout:${attempt.attempt}`,
        askedBefore,
        send: (options) => stripe.checkout.sessions.create(params, options),
        find: () => findSessionOf(stripe, owner, attempt),
      })
      if (made.kind !== 'made') return made
      const { object } = made
      // A replayed answer is as old as the first request: the session may have ended since then.
      const session = isReplayed(object)
        ? await afterWrite(() => callStripe(() => stripe.checkout.sessions.retrieve(object.id)))
        : object
      return { kind: 'made', ...toSession(session) }
    },
    async closeCheckout(conferenceId, sessionId) {
      return closeCheckout(await clients.forConference(conferenceId), sessionId)
    },
    async findSession(conferenceId, sessionId) {
      const stripe = await clients.forConference(conferenceId)
      const response = await fetchOrNull(() => stripe.checkout.sessions.retrieve(sessionId))
      if (response === null) return null
      const { metadata, url, expires_at } = parseStripeObject(
        sessionObject,
        response,
        'checkout session',
      )
      return { metadata, url, expiresAt: new Date(expires_at * 1000) }
    },
    async openIntent(owner, { attempt, params, createdAt }, { card, askedBefore }) {
      const stripe = await clients.forConference(owner.conferenceId)
      const metadata = ownMetadata(owner, attempt, params)
      const made = await makeOnce({
        idempotencyKey: `${keyPrefix(owner)}:pay:${attempt}`,
        askedBefore,
        send: async (options) =>
          toIntentId(
            await stripe.paymentIntents.create(
              {
                amount: toStripeAmount(params.amount, params.currency),
                currency: params.currency.toLowerCase(),
                customer: card.customer,
                payment_method: card.paymentMethod,
                description: params.description,
                metadata,
                // The payer is not present, so payment methods that redirect the payer cannot work.
                automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
                ...suffixOf(params),
              },
              options,
            ),
          ),
        find: async () => {
          const created = { gte: startOfSearch(createdAt) }
          const all = stripe.paymentIntents.list({ customer: card.customer, created, limit: 100 })
          const found = await findByMetadata(all, owner, attempt)
          return found === null ? null : toIntentId(found)
        },
      })
      return made.kind === 'made' ? { kind: 'made', paymentIntent: made.object } : made
    },
    async confirmIntent(owner, attempt, confirms, paymentIntent) {
      const stripe = await clients.forConference(owner.conferenceId)
      const idempotencyKey = `${keyPrefix(owner)}:pay:${attempt}:confirm:${confirms}`
      try {
        // The payment method is not sent again: a declined intent has none any more, so a second
        // confirmation in flight cannot charge the card again.
        await stripe.paymentIntents.confirm(
          paymentIntent,
          { off_session: true },
          { idempotencyKey },
        )
        return null
      } catch (error) {
        return toAppError(error)
      }
    },
    async closeIntent(conferenceId, paymentIntent) {
      return closeIntent(await clients.forConference(conferenceId), paymentIntent)
    },
    async refund(owner, params, { askedBefore }) {
      const stripe = await clients.forConference(owner.conferenceId)
      const made = await requestRefund(stripe, owner, params, askedBefore)
      return made.kind === 'made' ? { kind: 'made', refundId: made.object } : made
    },
    async fetchSnapshot(query) {
      const { conferenceId } = query.owner
      const recorder = mirrorFeed.begin(conferenceId, query.takenAt)
      const connection = await clients.connect(conferenceId)
      try {
        return await fetchPaymentSnapshot({ ...connection, query, logger, recorder })
      } finally {
        await recorder.settled()
      }
    },
  }
}

const keyPrefix = ({ kind, id }: PaymentOwner) =>
  kind === 'purchase' ? `bp:${id}` : `charge:${id}`

/** Names the owner to our webhooks and to people who look at the object in Stripe's dashboard. */
function ownMetadata(
  { kind, id, conferenceId }: PaymentOwner,
  attempt: number,
  params: { sponsorId: string | null; metadata?: Record<string, string> },
): Record<string, string> {
  return {
    ...params.metadata,
    [`${kind}_id`]: id,
    conference_id: conferenceId,
    attempt: String(attempt),
    // Without this check, a missing sponsor would become the text "null".
    ...(params.sponsorId === null ? {} : { sponsor_id: params.sponsorId }),
  }
}

const suffixOf = ({
  statementDescriptorSuffix: suffix,
}: {
  statementDescriptorSuffix?: string | null
}) => (suffix === null || suffix === undefined ? {} : { statement_descriptor_suffix: suffix })

/** Price and quantity are fixed here, so neither Stripe's dashboard nor the payer can change the total. */
function sessionParams(
  owner: PaymentOwner,
  { attempt, params }: Pick<CheckoutAttempt, 'attempt' | 'params'>,
  customer: string | null,
): Stripe.Checkout.SessionCreateParams {
  const metadata = ownMetadata(owner, attempt, params)
  return {
    mode: 'payment',
    line_items: [
      {
        price_data: {
          currency: params.currency.toLowerCase(),
          unit_amount: toStripeAmount(params.unitAmount, params.currency),
          product_data: { name: params.name ?? params.description, metadata },
        },
        quantity: params.quantity,
      },
    ],
    // Our webhooks take it for a purchase's id.
    ...(owner.kind === 'purchase' ? { client_reference_id: owner.id } : {}),
    metadata,
    payment_intent_data: {
      metadata,
      // A charge has the same description whether its page or its saved card is used.
      ...(owner.kind === 'charge' ? { description: params.description } : {}),
      ...suffixOf(params),
    },
    // Overrides the dashboard's setting, with which Stripe would convert the currency.
    adaptive_pricing: { enabled: false },
    allow_promotion_codes: false,
    success_url: params.successUrl,
    cancel_url: params.cancelUrl,
    ...(params.invoiceCreation ? { invoice_creation: { enabled: true } } : {}),
    ...(params.taxIdCollection ? { tax_id_collection: { enabled: true } } : {}),
    ...(customer === null ? {} : { customer }),
    ...(params.contactEmail === null ? {} : { customer_email: params.contactEmail }),
    ...(params.expiresAt === null ? {} : { expires_at: params.expiresAt }),
  }
}

function toSession(response: unknown) {
  const session = parseStripeObject(sessionObject, response, 'checkout session')
  const { id, url, expires_at, status } = session
  return { session: { sessionId: id, url, expiresAt: new Date(expires_at * 1000) }, status }
}

const toIntentId = (response: unknown) =>
  parseStripeObject(paymentIntentObject, response, 'payment intent').id

/** Our clock and Stripe's may differ, and the row is older than the request. Unix seconds. */
const startOfSearch = (createdAt: Date) => Math.floor(createdAt.getTime() / 1000) - 600

/** The session that an earlier request for this attempt made, or null. Stripe lists the newest first. */
async function findSessionOf(
  stripe: Stripe,
  owner: PaymentOwner,
  { attempt, createdAt }: Pick<CheckoutAttempt, 'attempt' | 'createdAt'>,
): Promise<Stripe.Checkout.Session | null> {
  const created = { gte: startOfSearch(createdAt) }
  return findByMetadata(stripe.checkout.sessions.list({ created, limit: 100 }), owner, attempt)
}

async function findByMetadata<T extends { metadata?: Record<string, string> | null }>(
  all: AsyncIterable<T>,
  owner: PaymentOwner,
  attempt: number,
): Promise<T | null> {
  for await (const object of all) {
    const { metadata } = object
    if (
      metadata?.[`${owner.kind}_id`] === owner.id &&
      metadata['conference_id'] === owner.conferenceId &&
      metadata['attempt'] === String(attempt)
    ) {
      return object
    }
  }
  return null
}

/**
 * Expires a Checkout session, so that it cannot be paid any more. Stripe refuses this unless the
 * session is open; then the session is fetched to find out whether it is expired or complete.
 *
 * @throws AppError `stripe_…`
 * @see https://docs.stripe.com/api/checkout/sessions/expire
 */
async function closeCheckout(stripe: Stripe, sessionId: string): Promise<ClosedSession> {
  try {
    await stripe.checkout.sessions.expire(sessionId)
    return { status: 'expired' }
  } catch (error) {
    if (!isRefusal(error)) throw toAppError(error)
    const response = await callStripe(() => stripe.checkout.sessions.retrieve(sessionId))
    const session = parseStripeObject(sessionObject, response, 'checkout session')
    const { status, payment_intent: paymentIntent } = session
    if (status === 'open') throw toAppError(error)
    return status === 'expired' ? { status } : { status, paymentIntent }
  }
}

/**
 * Cancels an intent, so that it cannot be charged any more.
 *
 * @returns `charged` when it is paid or processing already.
 * @throws AppError `stripe_…`
 */
async function closeIntent(stripe: Stripe, paymentIntent: string): Promise<'canceled' | 'charged'> {
  const before = await fetchEnd(stripe, paymentIntent)
  // A bank debit that is processing is not canceled, although Stripe may allow it.
  if (before !== null) return before
  try {
    await stripe.paymentIntents.cancel(paymentIntent)
    return 'canceled'
  } catch (error) {
    const after = isRefusal(error) ? await fetchEnd(stripe, paymentIntent) : null
    if (after !== null) return after
    throw toAppError(error)
  }
}

/** How the intent ended; null while it can still be charged. */
async function fetchEnd(stripe: Stripe, id: string): Promise<'canceled' | 'charged' | null> {
  const response = await callStripe(() => stripe.paymentIntents.retrieve(id))
  const { status } = parseStripeObject(paymentIntentObject, response, 'payment intent')
  if (status === 'canceled') return 'canceled'
  return status === 'processing' || status === 'succeeded' ? 'charged' : null
}

const REASONS = ['duplicate', 'fraudulent', 'requested_by_customer'] as const

/** The id of the refund, which an earlier request may have made. */
function requestRefund(
  stripe: Stripe,
  owner: PaymentOwner,
  { requestId, paymentIntent, amount, currency, reason: text }: RefundParams,
  askedBefore: boolean,
): Promise<Outcome<string>> {
  const reason = REASONS.find((known) => known === text)
  const toId = (response: unknown) => parseStripeObject(refundObject, response, 'refund').id
  return makeOnce({
    idempotencyKey: `${keyPrefix(owner)}:refund:${requestId}`,
    askedBefore,
    send: async (options) =>
      toId(
        await stripe.refunds.create(
          {
            payment_intent: paymentIntent,
            amount: toStripeAmount(amount, currency),
            ...(reason === undefined ? {} : { reason }),
            metadata: {
              [`${owner.kind}_id`]: owner.id,
              conference_id: owner.conferenceId,
              refund_request: requestId,
            },
          },
          options,
        ),
      ),
    async find() {
      const all = stripe.refunds.list({ payment_intent: paymentIntent, limit: 100 })
      for await (const refund of all) {
        if (refund.metadata?.['refund_request'] === requestId) return toId(refund)
      }
      return null
    },
  })
}
