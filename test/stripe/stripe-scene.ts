import type { FakeStripe } from 'fake-stripe/source'
import { beforeAll } from 'vitest'
import type { PaymentGateway, SnapshotQuery } from '../../src/payments/payment-gateway.ts'
import type { CheckoutParams, PaymentOwner } from '../../src/payments/payment-records.ts'
import { newId } from '../../src/shared/ids.ts'
import { createLogger } from '../../src/shared/logger.ts'
import type { ServiceMetrics } from '../../src/shared/service-metrics.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import {
  buildStripe,
  createCountingHttpClient,
  type StripeClients,
} from '../../src/stripe/stripe-client.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import { createStripePaymentGateway } from '../../src/stripe/stripe-payment-gateway.ts'
import { newStripeKey, useFakeStripe } from '../support/shop.ts'

export const PARAMS: CheckoutParams = {
  successUrl: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
  cancelUrl: 'https://shop.example/cart',
  description: '10 vouchers for the conference',
  quantity: 10,
  unitAmount: 1_000,
  currency: 'EUR',
  sponsorId: 'spon_1',
  contactEmail: null,
  expiresAt: null,
  invoiceCreation: false,
  taxIdCollection: false,
}

export type StripeScene = {
  readonly fake: FakeStripe
  readonly key: string
  readonly gateway: PaymentGateway
  /** Clients that use the key for every conference. */
  readonly clients: StripeClients
  /** Objects that the gateway passed to the mirror. */
  readonly mirrored: StripeObject[]
  /** Log lines of the gateway. */
  readonly log: string[]
  /** A purchase, as the owner of payments. */
  newRef(): PaymentOwner & { purchaseId: string }
  /** Asks for the session of an attempt. */
  ask(
    owner: PaymentOwner,
    attempt: number,
    params: CheckoutParams,
    askedBefore?: boolean,
  ): ReturnType<PaymentGateway['openCheckout']>
  /** Opens a session and returns its id. */
  open(owner: PaymentOwner, params?: Partial<CheckoutParams>, attempt?: number): Promise<string>
  facts(
    owner: PaymentOwner,
    session: string,
    more?: Partial<SnapshotQuery>,
  ): ReturnType<PaymentGateway['fetchSnapshot']>
}

/** A gateway on a fake Stripe, without a database. */
export function useStripeScene(
  options: { timeoutSeconds?: number; metrics?: ServiceMetrics } = {},
): StripeScene {
  const stripe = useFakeStripe()
  const key = newStripeKey()
  const log: string[] = []
  let made: { gateway: PaymentGateway; clients: StripeClients } | undefined
  beforeAll(() => {
    const settings = {
      stripeApiBase: stripe.fake.url,
      stripeTimeoutSeconds: options.timeoutSeconds ?? 20,
    }
    const http = createCountingHttpClient(options.metrics ?? noMetrics)
    const client = buildStripe(key, settings, http)
    const clients = {
      forConference: async () => client,
      connect: async () => ({ stripe: client, livemode: false }),
      background: async () => ({ stripe: client, livemode: false }),
    }
    const recording = {
      now: () => 0,
      record: (objects: readonly StripeObject[]) => void scene.mirrored.push(...objects),
      settled: async () => {},
    }
    const logger = createLogger('trace', { write: (line) => void log.push(line) })
    made = {
      clients,
      gateway: createStripePaymentGateway(clients, logger, { begin: () => recording }),
    }
  })
  const parts = () => {
    if (made === undefined) throw new Error('The scene is not available before beforeAll.')
    return made
  }
  const scene: StripeScene = {
    key,
    mirrored: [],
    log,
    get fake() {
      return stripe.fake
    },
    get gateway() {
      return parts().gateway
    },
    get clients() {
      return parts().clients
    },
    newRef() {
      const id = newId('purchase')
      return { conferenceId: newId('conference'), kind: 'purchase', id, purchaseId: id }
    },
    ask: (owner, attempt, params, askedBefore = false) =>
      scene.gateway.openCheckout(
        owner,
        { attempt, params, createdAt: new Date() },
        { customer: null, askedBefore },
      ),
    async open(owner, params = {}, attempt = 1) {
      const result = await scene.ask(owner, attempt, { ...PARAMS, ...params })
      if (result.kind !== 'made') throw new Error(`openCheckout: ${result.message}`)
      return result.session.sessionId
    },
    facts: (owner, session, more = {}) =>
      scene.gateway.fetchSnapshot({
        takenAt: 0,
        owner,
        sessions: [{ attempt: 1, sessionId: session }],
        paymentIntents: [],
        hintedPaymentIntents: [],
        warnings: false,
        ...more,
      }),
  }
  return scene
}
