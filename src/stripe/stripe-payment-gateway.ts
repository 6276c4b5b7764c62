import type Stripe from 'stripe'
import type { CheckoutParams, PaymentGateway, PurchaseRef } from '../payments/payment-gateway.ts'
import type { Logger } from '../shared/logger.ts'
import { toStripeAmount } from '../shared/money.ts'
import { type FetchRecorder, fetchPaymentSnapshot } from './fetch-payment-snapshot.ts'
import {
  closeCheckout,
  closeIntent,
  confirmIntent,
  createCheckoutSession,
  createIntent,
  FIXED_AMOUNT,
  findSession,
  requestRefund,
} from './payment-requests.ts'
import type { StripeClients } from './stripe-client.ts'

/** Records one fetch. */
export type FetchRecording = FetchRecorder & {
  /** Resolves when all objects are stored, or were skipped because storing them failed. */
  settled(): Promise<void>
}

/** The port to Stripe for purchases. Objects fetched for a purchase also update the mirror. */
export function createStripePaymentGateway(
  clients: StripeClients,
  logger: Logger,
  mirrorFeed: { begin(conferenceId: string): Promise<FetchRecording> },
): PaymentGateway {
  return {
    async openCheckout(ref, attempt, params) {
      const stripe = await clients.forConference(ref.conferenceId)
      const key = `bp:${ref.purchaseId}:checkout:${attempt}`
      return createCheckoutSession(stripe, sessionParams(ref, attempt, params), key)
    },
    async closeCheckout(conferenceId, sessionId) {
      return closeCheckout(await clients.forConference(conferenceId), sessionId)
    },
    async findSession(conferenceId, sessionId) {
      return findSession(await clients.forConference(conferenceId), sessionId)
    },
    async openIntent(ref, attempt, { description, amount, currency, sponsorId }, card) {
      const params = {
        ...card,
        description,
        amount,
        currency,
        statementDescriptorSuffix: null,
        metadata: purchaseMetadata(ref, attempt, sponsorId),
      }
      const stripe = await clients.forConference(ref.conferenceId)
      return createIntent(stripe, params, `bp:${ref.purchaseId}:pay:${attempt}`)
    },
    async confirmIntent(ref, attempt, confirms, paymentIntent) {
      const stripe = await clients.forConference(ref.conferenceId)
      const key = `bp:${ref.purchaseId}:pay:${attempt}:confirm:${confirms}`
      return confirmIntent(stripe, paymentIntent, key)
    },
    async closeIntent(conferenceId, paymentIntent) {
      return closeIntent(await clients.forConference(conferenceId), paymentIntent)
    },
    async refund(ref, order) {
      const stripe = await clients.forConference(ref.conferenceId)
      const owner = { purchase_id: ref.purchaseId, conference_id: ref.conferenceId }
      const key = `bp:${ref.purchaseId}:refund:${order.requestId}`
      return requestRefund(stripe, order, owner, key)
    },
    async fetchSnapshot(query) {
      const { conferenceId } = query.ref
      const connection = await clients.connect(conferenceId)
      const recorder = await mirrorFeed.begin(conferenceId)
      try {
        return await fetchPaymentSnapshot({ ...connection, query, logger, recorder })
      } finally {
        await recorder.settled()
      }
    },
  }
}

/** Price and quantity are fixed here, so neither Stripe's dashboard nor the payer can change the total. */
function sessionParams(
  ref: PurchaseRef,
  attempt: number,
  params: CheckoutParams,
): Stripe.Checkout.SessionCreateParams {
  const metadata = purchaseMetadata(ref, attempt, params.sponsorId)
  return {
    mode: 'payment',
    line_items: [
      {
        price_data: {
          currency: params.currency.toLowerCase(),
          unit_amount: toStripeAmount(params.unitAmount, params.currency),
          product_data: { name: params.description, metadata },
        },
        quantity: params.quantity,
      },
    ],
    client_reference_id: ref.purchaseId,
    metadata,
    payment_intent_data: { metadata },
    ...FIXED_AMOUNT,
    success_url: params.successUrl,
    cancel_url: params.cancelUrl,
    ...(params.invoiceCreation ? { invoice_creation: { enabled: true } } : {}),
    ...(params.taxIdCollection ? { tax_id_collection: { enabled: true } } : {}),
    ...(params.contactEmail === null ? {} : { customer_email: params.contactEmail }),
    ...(params.expiresAt === null ? {} : { expires_at: params.expiresAt }),
  }
}

/** Names the purchase to our webhooks and to people who look at the object in Stripe's dashboard. */
function purchaseMetadata(
  ref: PurchaseRef,
  attempt: number,
  sponsorId: string | null,
): Record<string, string> {
  return {
    purchase_id: ref.purchaseId,
    conference_id: ref.conferenceId,
    attempt: String(attempt),
    // Without this check, a missing sponsor would become the text "null".
    ...(sponsorId === null ? {} : { sponsor_id: sponsorId }),
  }
}
