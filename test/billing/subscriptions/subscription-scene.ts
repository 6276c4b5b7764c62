import type Stripe from 'stripe'
import { beforeAll } from 'vitest'
import { type SyncScene, useSyncScene, type WiredShop } from '../../mirror/sync-scene.ts'
import { createSponsor, createSponsorKey } from '../../support/fixtures.ts'
import type { Answer, Body } from '../../support/test-app.ts'

export type SubscriptionAnswer = Body & {
  id: string
  status: string | null
  stripe_subscription: string
  current_period_end: string
  items: Body[]
}

export type Payer = { sponsor: string; key: string; customer: string; stripeCustomer: string }

export const DAY = 24 * 60 * 60

/** `YYYY-MM-DD`, in UTC. */
export const day = (fromNow: number) =>
  new Date(Date.now() + fromNow * DAY * 1000).toISOString().slice(0, 10)

export type SubscriptionScene = SyncScene & {
  readonly shop: WiredShop
  /** A Stripe client of the shop's account, in the role of the dashboard. */
  readonly dashboard: Stripe
  /** Creates a sponsor with a customer and this default test card; null: no card. */
  payer(card?: string | null): Promise<Payer>
  /** Creates a plan and returns its id. Default: 10.00 per month. */
  plan(body?: Body): Promise<string>
  ask(body: Body, key?: string): Promise<Answer<SubscriptionAnswer>>
  /** Subscribes the payer to the plan. */
  subscribe(payer: Payer, body?: Body): Promise<SubscriptionAnswer>
  get(id: string): Promise<SubscriptionAnswer>
  act(id: string, action: string, body?: Body): Promise<Answer<SubscriptionAnswer>>
  refOf(id: string): { conferenceId: string; subscriptionId: string }
  /** The payer's subscriptions at Stripe, including ended ones. */
  atStripe(payer: Payer): Promise<Stripe.Subscription[]>
}

/** A shop with a plan, whose sponsors subscribe through the API. */
export function useSubscriptionScene(): SubscriptionScene {
  const scene = useSyncScene()
  let shop: WiredShop | undefined
  let monthly = ''
  beforeAll(async () => {
    shop = await scene.openWiredShop()
    monthly = await own.plan()
  })
  const opened = (): WiredShop => {
    if (shop === undefined) throw new Error('The shop is open from beforeAll on.')
    return shop
  }
  const path = (rest = '') => `${opened().path}/subscriptions${rest}`

  async function made<T extends Body>(where: string, body: Body): Promise<T> {
    const answer = await scene.request<T>('POST', `${opened().path}/${where}`, { body })
    if (answer.status !== 201) throw new Error(`${where}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  const own = {
    get shop() {
      return opened()
    },
    get dashboard() {
      return scene.stripeOf(opened())
    },
    async payer(card: string | null = 'pm_card_visa'): Promise<Payer> {
      const { id: sponsor } = await createSponsor(scene, opened())
      const { key } = await createSponsorKey(scene, opened(), sponsor)
      const { id: customer, stripe_customer: stripeCustomer } = await made<{
        id: string
        stripe_customer: string
      }>('customers', { sponsor })
      const stripe = scene.stripeOf(opened())
      if (card !== null) {
        const { id } = await stripe.paymentMethods.attach(card, { customer: stripeCustomer })
        await stripe.customers.update(stripeCustomer, {
          invoice_settings: { default_payment_method: id },
        })
      }
      return { sponsor, key, customer, stripeCustomer }
    },
    plan: async (body: Body = {}) =>
      (
        await made<{ id: string }>('plans', {
          name: 'Booth',
          amount: 1_000,
          interval: 'month',
          ...body,
        })
      ).id,
    ask: (body: Body, key?: string) =>
      scene.request<SubscriptionAnswer>('POST', path(), {
        body,
        headers: key === undefined ? {} : { 'idempotency-key': key },
      }),
    subscribe: (payer: Payer, body: Body = {}) =>
      made<SubscriptionAnswer>('subscriptions', {
        customer: payer.customer,
        items: [{ plan: monthly }],
        ...body,
      }),
    get: async (id: string) =>
      (await scene.request<SubscriptionAnswer>('GET', path(`/${id}`))).body,
    act: (id: string, action: string, body?: Body) =>
      scene.request<SubscriptionAnswer>(
        'POST',
        path(`/${id}/${action}`),
        body === undefined ? {} : { body },
      ),
    refOf: (id: string) => ({ conferenceId: opened().conference, subscriptionId: id }),
    async atStripe({ stripeCustomer: customer }: Payer) {
      const all = scene.stripeOf(opened()).subscriptions.list({ customer, status: 'all' })
      return (await all).data
    },
  }
  // These must be getters, because the values do not exist yet.
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(scene)) as SubscriptionScene
}
