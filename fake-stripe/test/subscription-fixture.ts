import type Stripe from 'stripe'
import { type FakeUnderTest, startFake } from './fake-under-test.ts'

export type BillingUnderTest = FakeUnderTest & {
  /** 10.00 EUR a month. */
  price: string
  /** Creates a customer whose default is a valid card, or another test card. */
  customer: (card?: string, params?: Stripe.CustomerCreateParams) => Promise<string>
  /** Creates a subscription to that price. */
  subscribe: (
    customer: string,
    params?: Partial<Stripe.SubscriptionCreateParams>,
  ) => Promise<Stripe.Subscription>
  /** The types of all events since the last call, oldest first. */
  newEvents: () => string[]
}

/** A fake with a monthly price. */
export async function startBilling(): Promise<BillingUnderTest> {
  const test = await startFake()
  const { stripe, control, account } = test
  const price = await monthlyPrice(stripe, 1000)
  let seen = 0
  return {
    ...test,
    price,
    async customer(card = 'pm_card_visa', params = {}) {
      const { id } = await stripe.customers.create({ name: 'Sponsor', ...params })
      const method = await stripe.paymentMethods.attach(card, { customer: id })
      const settings = { default_payment_method: method.id }
      await stripe.customers.update(id, { invoice_settings: settings })
      return id
    },
    subscribe: (customer, params) =>
      stripe.subscriptions.create({ customer, items: [{ price }], ...params }),
    newEvents() {
      const all = control.events({ account }).map(({ type }) => type)
      const since = all.slice(seen)
      seen = all.length
      return since
    },
  }
}

/** @param amount cents of EUR. */
export async function monthlyPrice(stripe: Stripe, amount: number): Promise<string> {
  const { id } = await stripe.prices.create({
    currency: 'eur',
    unit_amount: amount,
    recurring: { interval: 'month' },
    product_data: { name: 'Membership' },
  })
  return id
}
