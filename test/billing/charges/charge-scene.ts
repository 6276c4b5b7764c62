import type { FakeStripe } from 'fake-stripe/source'
import type { Shop } from '../../support/shop.ts'
import type { Answer, Body, TestProcess } from '../../support/test-app.ts'

export type ChargeAnswer = Body & {
  id: string
  status: string
  amount_received: number
  amount_refunded: number
  amount_refunding: number
  payment_intent: string | null
  failure: { code: string; message: string } | null
  attempts: number
  checkout: { session_id: string; url: string } | null
}

export type ChargeScene = {
  customer: string
  stripeCustomer: string
  /** Saves a card of the customer and returns its id. */
  save(card?: string): string
  /** A charge of 12.34 EUR. */
  create(body?: Body): Promise<ChargeAnswer>
  act(charge: string, action: string, body?: Body): Promise<Answer<ChargeAnswer>>
  get(charge: string): Promise<ChargeAnswer>
  /** The payment intents of a charge at Stripe, oldest first. */
  intents(charge: string): Body[]
  /** The total amount that Stripe received for the charge. */
  taken(charge: string): number
}

/** A sponsor of the shop with a customer at Stripe, and functions for its charges. */
export async function openChargeScene(
  app: Pick<TestProcess, 'request'>,
  stripe: { readonly fake: FakeStripe },
  shop: Shop,
): Promise<ChargeScene> {
  const made = await app.request<Body>('POST', `${shop.path}/customers`, {
    body: { sponsor: shop.sponsor },
  })
  const customer = String(made.body['id'])
  const stripeCustomer = String(made.body['stripe_customer'])
  const { control } = stripe.fake
  const call = (path: string, params: Body) =>
    control.call(shop.stripeKey, 'POST', path, params) as Body
  const intents = (charge: string) =>
    control
      .list(shop.stripeKey, 'payment_intent')
      .map((intent): Body => ({ ...intent }))
      .filter(({ metadata }) => (metadata as Body)['charge_id'] === charge)
      .toReversed()
  return {
    customer,
    stripeCustomer,
    save(card = 'pm_card_visa') {
      const params = { customer: stripeCustomer }
      const id = String(call(`/v1/payment_methods/${card}/attach`, params)['id'])
      const known = control.get(stripeCustomer) as Body & {
        invoice_settings?: { default_payment_method: string | null }
      }
      if (!known.invoice_settings?.default_payment_method) {
        call(`/v1/customers/${stripeCustomer}`, {
          invoice_settings: { default_payment_method: id },
        })
      }
      return id
    },
    async create(body = {}) {
      const answer = await app.request<ChargeAnswer>('POST', `${shop.path}/charges`, {
        body: { customer, amount: 1_234, description: 'Booth 14', ...body },
      })
      if (answer.status !== 201) throw new Error(`create answered ${JSON.stringify(answer.body)}`)
      return answer.body
    },
    act: (charge, action, body = {}) =>
      app.request('POST', `${shop.path}/charges/${charge}/${action}`, { body }),
    async get(charge) {
      return (await app.request<ChargeAnswer>('GET', `${shop.path}/charges/${charge}`)).body
    },
    intents,
    taken: (charge) =>
      intents(charge).reduce((sum, intent) => sum + Number(intent['amount_received']), 0),
  }
}
