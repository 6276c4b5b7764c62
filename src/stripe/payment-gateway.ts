import type { PaymentGateway } from '../purchases/payment-gateway.ts'
import type { Logger } from '../shared/logger.ts'
import { closeCheckout, openCheckout } from './checkout.ts'
import type { StripeClients } from './client.ts'
import { readFacts } from './read-facts.ts'
import { refund } from './refunds.ts'

/** Stripe as purchases see it. */
export function createPaymentGateway(clients: StripeClients, logger: Logger): PaymentGateway {
  return {
    async openCheckout(ref, attempt, params) {
      return openCheckout(await clients.forConference(ref.conferenceId), ref, attempt, params)
    },
    async closeCheckout(conferenceId, sessionId) {
      return closeCheckout(await clients.forConference(conferenceId), sessionId)
    },
    async refund(ref, order) {
      return refund(await clients.forConference(ref.conferenceId), ref, order)
    },
    async readFacts(query) {
      const connection = await clients.connect(query.ref.conferenceId)
      return readFacts({ ...connection, query, logger })
    },
  }
}
