import { expect, it } from 'vitest'
import { idOf, sessionParams, startFake } from './fake-under-test.ts'
import KEYS from './stripe-object-keys.json' with { type: 'json' }

// The keys are those of the sample objects that Stripe publishes (fixtures3.json of its OpenAPI
// repository). The samples are older than the pinned API version and show some keys only after
// `expand`; what differs is named here, so that nothing else can.
const NEWER_THAN_THE_SAMPLES: Record<string, string[]> = {
  'checkout.session': ['allowed_payment_method_types'],
  dispute: ['intended_submission_method'],
  payment_intent: ['allowed_payment_method_types', 'payment_record'],
  'radar.early_fraud_warning': ['payment_intent'],
  setup_intent: ['allowed_payment_method_types'],
}

function expectKeysOf(kind: keyof typeof KEYS, object: object): void {
  const keys = [...KEYS[kind], ...(NEWER_THAN_THE_SAMPLES[kind] ?? [])]
  // lastResponse is the SDK's, and it is not enumerable.
  expect(Object.keys(object).toSorted(), kind).toEqual(keys.toSorted())
}

it('gives checkout objects the keys of Stripe’s own samples', async () => {
  const { stripe, control } = await startFake()
  const session = await stripe.checkout.sessions.create(sessionParams())
  expectKeysOf('checkout.session', session)
  const lines = await stripe.checkout.sessions.listLineItems(session.id)
  expectKeysOf('item', lines.data[0] ?? {})
  expectKeysOf('price', lines.data[0]?.price ?? {})
  control.pay(session.id)
  const paid = await stripe.checkout.sessions.retrieve(session.id)
  expectKeysOf('checkout.session', paid)
})

it('gives payments, refunds and disputes the keys of Stripe’s own samples', async () => {
  const { stripe, control } = await startFake()
  const session = await stripe.checkout.sessions.create(sessionParams())
  const paid = control.pay(session.id)
  const intent = await stripe.paymentIntents.retrieve(idOf(paid.payment_intent))
  expectKeysOf('payment_intent', intent)
  const charge = await stripe.charges.retrieve(idOf(intent.latest_charge), { expand: ['refunds'] })
  expectKeysOf('charge', charge)
  const movement = await stripe.balanceTransactions.retrieve(idOf(charge.balance_transaction))
  expectKeysOf('balance_transaction', movement)
  const method = await stripe.paymentMethods.retrieve(idOf(intent.payment_method))
  expectKeysOf('payment_method', method)
  const refund = await stripe.refunds.create({ charge: charge.id, amount: 100 })
  expectKeysOf('refund', refund)
  const warning = control.earlyFraudWarning(charge.id)
  expectKeysOf(
    'radar.early_fraud_warning',
    await stripe.radar.earlyFraudWarnings.retrieve(warning.id),
  )
  const dispute = control.dispute(charge.id)
  expectKeysOf('dispute', await stripe.disputes.retrieve(dispute.id))
})

it('leaves refunds out of a charge unless they are asked for, as Stripe does since 2022', async () => {
  const { stripe, control } = await startFake()
  const session = await stripe.checkout.sessions.create(sessionParams())
  const intent = control.pay(session.id).payment_intent
  const { data } = await stripe.charges.list({ payment_intent: idOf(intent) })
  expect(data[0]).not.toHaveProperty('refunds')
})

it('gives accounts, customers, events and endpoints the keys of Stripe’s own samples', async () => {
  const { stripe } = await startFake()
  expectKeysOf('account', await stripe.accounts.retrieveCurrent())
  const customer = await stripe.customers.create({ email: 'a@example.com' })
  expectKeysOf('customer', customer)
  const { data } = await stripe.events.list()
  expectKeysOf('event', data[0] ?? {})
  expectKeysOf('deleted_customer', await stripe.customers.del(customer.id))
  const endpoint = await stripe.webhookEndpoints.create({
    url: 'http://127.0.0.1:9/',
    enabled_events: ['*'],
  })
  expectKeysOf('webhook_endpoint', await stripe.webhookEndpoints.retrieve(endpoint.id))
  expectKeysOf('deleted_webhook_endpoint', await stripe.webhookEndpoints.del(endpoint.id))
})

it('gives setup intents the keys of Stripe’s own samples', async () => {
  const { stripe } = await startFake()
  const session = await stripe.checkout.sessions.create({
    mode: 'setup',
    currency: 'eur',
    success_url: 'https://shop.example/',
  })
  expectKeysOf('setup_intent', await stripe.setupIntents.retrieve(idOf(session.setup_intent)))
})
