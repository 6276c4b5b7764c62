import type { MirrorFeed } from '../mirror/mirror-feed.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { Logger } from '../shared/logger.ts'
import { fetchPaymentSnapshot } from './fetch-payment-snapshot.ts'
import { closeIntent, confirmIntent, createIntent } from './off-session-intent.ts'
import { requestRefund } from './request-refund.ts'
import { closeCheckout, openCheckout, purchaseMetadata } from './stripe-checkout.ts'
import type { StripeClients } from './stripe-client.ts'

/** Stripe as purchases see it. What it reads for them goes into the mirror as well. */
export function createStripePaymentGateway(
  clients: StripeClients,
  logger: Logger,
  mirrorFeed: Pick<MirrorFeed, 'begin'>,
): PaymentGateway {
  return {
    async openCheckout(ref, attempt, params) {
      return openCheckout(await clients.forConference(ref.conferenceId), ref, attempt, params)
    },
    async closeCheckout(conferenceId, sessionId) {
      return closeCheckout(await clients.forConference(conferenceId), sessionId)
    },
    async openIntent(ref, attempt, params, card) {
      const { description, amount, currency } = params
      const order = {
        ...card,
        description,
        amount,
        currency,
        statementDescriptorSuffix: null,
        metadata: purchaseMetadata(ref, attempt, params.sponsorId),
      }
      const stripe = await clients.forConference(ref.conferenceId)
      return createIntent(stripe, order, `bp:${ref.purchaseId}:pay:${attempt}`)
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
      return requestRefund(await clients.forConference(ref.conferenceId), ref, order)
    },
    async readFacts(query) {
      const { conferenceId } = query.ref
      const connection = await clients.connect(conferenceId)
      const mirror = await mirrorFeed.begin(conferenceId)
      try {
        return await fetchPaymentSnapshot({ ...connection, query, logger, mirror })
      } finally {
        await mirror.settled()
      }
    },
  }
}
