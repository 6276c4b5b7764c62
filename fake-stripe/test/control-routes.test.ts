import { expect, it } from 'vitest'
import { COMMANDS } from '../src/control/control-commands.ts'
import { idOf, sessionParams, startFake } from './fake-under-test.ts'
import { startReceiver } from './webhook-receiver.ts'

type Answer = { status: number; data: unknown; message: string | undefined }

/** A client of the control routes, as another process has one: JSON over HTTP. */
async function startRemote() {
  const test = await startFake()
  const read = async (response: Response): Promise<Answer> => {
    const body = (await response.json()) as { data?: unknown; error?: { message: string } }
    return { status: response.status, data: body.data, message: body.error?.message }
  }
  const post = async (command: string, input: object = {}, headers = {}) =>
    read(
      await fetch(`${test.fake.url}/_fake/${command}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(input),
      }),
    )
  const get = async (path: string) => read(await fetch(`${test.fake.url}/_fake/${path}`))
  return { ...test, post, get }
}

it('drives a payment, a refund and a dispute', async () => {
  const { stripe, post, get } = await startRemote()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  await post('decline', { session: id, code: 'expired_card' })
  expect((await post('pay', { session: id })).data).toMatchObject({ payment_status: 'paid' })
  expect((await post('set-refund-mode', { mode: 'pending', times: 1 })).data).toBeNull()
  const { data: refund } = await post('refund', { payment: id, amount: 100 })
  expect(refund).toMatchObject({ status: 'pending', amount: 100 })
  const { id: refundId } = refund as { id: string }
  await post('settle-refund', { refund: refundId })
  await post('fail-refund', { refund: refundId, reason: 'unknown' })
  expect((await get(`objects/${refundId}`)).data).toMatchObject({ status: 'failed' })
  const { data: dispute } = await post('dispute', { payment: id, status: 'warning_needs_response' })
  const { id: disputeId } = dispute as { id: string }
  await post('update-dispute', { dispute: disputeId, status: 'warning_under_review' })
  const closed = await post('close-dispute', { dispute: disputeId, outcome: 'warning_closed' })
  expect(closed.data).toMatchObject({ status: 'warning_closed' })
  const warning = await post('early-fraud-warning', { payment: id })
  expect(warning.data).toMatchObject({ object: 'radar.early_fraud_warning' })
})

it('drives late payments and expiry', async () => {
  const { stripe, post, control } = await startRemote()
  const open = async () => (await stripe.checkout.sessions.create(sessionParams())).id
  const [debit, failing, transfer, left] = [await open(), await open(), await open(), await open()]
  await post('pay-later', { session: debit })
  expect((await post('settle', { payment: debit })).data).toMatchObject({ status: 'succeeded' })
  await post('pay-later', { session: failing, method: 'us_bank_account' })
  expect((await post('fail-async', { payment: failing })).data).toMatchObject({
    status: 'requires_payment_method',
  })
  await post('pay-later', { session: transfer, method: 'customer_balance' })
  const part = await post('fund-partially', { payment: transfer, amount: 1 })
  expect(part.data).toMatchObject({ status: 'requires_action' })
  const before = control.clock.now().getTime()
  await post('advance', { seconds: 25 * 60 * 60 })
  expect(control.clock.now().getTime() - before).toBeGreaterThanOrEqual(25 * 60 * 60 * 1000)
  expect((await stripe.checkout.sessions.retrieve(left)).status).toBe('expired')
  expect((await post('expire', { session: await open() })).data).toMatchObject({
    status: 'expired',
  })
})

it('controls webhooks and faults', async () => {
  const { stripe, post, get, account } = await startRemote()
  const receiver = await startReceiver()
  const { data: endpoint } = await post('add-webhook-endpoint', {
    account,
    url: receiver.url,
    secret: 'whsec_of_the_test',
    events: ['customer.created'],
  })
  expect(endpoint).toMatchObject({ url: receiver.url, secret: 'whsec_of_the_test' })
  await post('pause')
  await stripe.customers.create({})
  const { data: held } = await get('deliveries?state=held')
  const [{ event }] = held as [{ event: string }]
  await post('deliver', { event })
  await post('deliver-in-order', { events: [event] })
  await post('resume')
  await post('wait-for-deliveries', { timeout_ms: 5000 })
  expect(receiver.types()).toEqual(['customer.created', 'customer.created'])
  const { id } = endpoint as { id: string }
  expect((await post('roll-webhook-secret', { endpoint: id })).data).toMatchObject({
    secret: expect.stringMatching(/^whsec_/),
  })
  await post('inject-webhook-fault', { kind: 'drop' })
  await post('inject-fault', { path: '/v1/account', action: { kind: 'rate_limit' } })
  expect((await get('faults')).data).toMatchObject({ api: [{}], webhooks: [{ kind: 'drop' }] })
  await post('clear-faults')
  expect((await get('faults')).data).toEqual({ api: [], webhooks: [] })
  expect((await get(`events?account=${account}&type=customer.*`)).data).toHaveLength(1)
  expect((await get('requests?path=/v1/customers')).data).toMatchObject([{ method: 'POST' }])
  await post('clear-requests')
  expect((await get('requests')).data).toEqual([])
})

it('creates accounts, keys and objects', async () => {
  const { post, get, withKey } = await startRemote()
  const { data: made } = await post('create-account', { name: 'Remote', default_currency: 'CHF' })
  const { id: account, secretKey } = made as { id: string; secretKey: string }
  expect(made).toMatchObject({ name: 'Remote', default_currency: 'chf' })
  const { data: second } = await post('create-key', { account, kind: 'rk' })
  const restricted = (second as { secretKey: string }).secretKey
  expect((await withKey(restricted).accounts.retrieveCurrent()).id).toBe(account)
  await post('revoke-key', { key: restricted })
  await expect(withKey(restricted).customers.list()).rejects.toThrow(/Expired API Key/)
  await post('call', { account, method: 'POST', path: '/v1/customers', params: { name: 'C' } })
  await post('put', {
    account,
    objects: [{ id: 'coupon_1', object: 'coupon', percent_off: 10 }],
    event: 'coupon.created',
  })
  expect((await get(`objects?account=${account}&kind=coupon`)).data).toMatchObject([
    { id: 'coupon_1' },
  ])
  const { data: customers } = await withKey(secretKey).customers.list()
  expect(customers).toMatchObject([{ name: 'C' }])
  const types = (await get(`events?account=${account}`)).data as { type: string }[]
  expect(types.map(({ type }) => type)).toEqual(['customer.created', 'coupon.created'])
  expect((await get('accounts')).data).toHaveLength(2)
})

it('deletes a price, pays out and seeds objects', async () => {
  const { stripe, post, account } = await startRemote()
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 100,
    product_data: { name: 'A' },
  })
  expect((await post('delete-price', { price: price.id })).status).toBe(200)
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  await post('pay', { session: id })
  const { data: payout } = await post('pay-out', { account, currency: 'eur' })
  const { id: payoutId } = payout as { id: string }
  expect((await post('settle-payout', { payout: payoutId })).data).toMatchObject({ status: 'paid' })
  const failed = await post('fail-payout', { payout: payoutId, code: 'account_closed' })
  expect(failed.data).toMatchObject({ status: 'failed', failure_code: 'account_closed' })
  for (const [command, count] of [
    ['seed-customers', 3],
    ['seed-coupons', 4],
    ['seed-products', 5],
  ] as const)
    expect((await post(command, { account, count })).data).toEqual({ count })
  expect((await stripe.coupons.list()).data).toHaveLength(4)
})

it('answers invalid commands with a reason', async () => {
  const { stripe, post, get, fake } = await startRemote()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  expect(await post('pay', { session: 'cs_none' })).toMatchObject({ status: 409 })
  expect(await post('settle', { payment: id })).toMatchObject({
    status: 409,
    message: `${id} has no payment intent`,
  })
  expect(await post('pay', { sesion: id })).toMatchObject({
    status: 400,
    message: expect.stringContaining('sesion'),
  })
  expect(await post('nothing')).toMatchObject({ status: 404 })
  expect(await get('objects/pi_none')).toMatchObject({ status: 409 })
  expect(await get('deliveries?state=odd')).toMatchObject({ status: 400 })
  const noJson = await fetch(`${fake.url}/_fake/pause`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  })
  expect(noJson.status).toBe(400)
  const crossSite = await post('pay', { session: id }, { 'sec-fetch-site': 'cross-site' })
  expect(crossSite.status).toBe(409)
  expect((await stripe.checkout.sessions.retrieve(id)).status).toBe('open')
  await post('pay', { session: id })
  const intent = idOf((await stripe.checkout.sessions.retrieve(id)).payment_intent)
  const refused = await post('refund', { payment: intent, amount: 100_001 })
  expect(refused).toMatchObject({ status: 400, message: expect.stringMatching(/greater than/) })
})

it('lists its commands', async () => {
  const { get, fake } = await startRemote()
  expect((await get('')).data).toEqual({ commands: [...COMMANDS.keys()] })
  const clock = (await get('clock')).data as { now: string }
  expect(Date.parse(clock.now)).toBeGreaterThan(0)
  expect(fake.url).toBe(`http://127.0.0.1:${fake.port}`)
})

it('drives saved cards, setups and subscriptions', async () => {
  const { stripe, post } = await startRemote()
  const { id: customer } = await stripe.customers.create({ source: 'tok_visa' })
  const [card] = (await stripe.paymentMethods.list({ customer })).data
  const renewed = await post('renew-card', { payment_method: card?.id, exp_year: '2044' })
  expect(renewed.data).toMatchObject({ card: { exp_year: 2044 } })
  const setup = await stripe.setupIntents.create({
    payment_method: 'pm_card_authenticationRequired',
    confirm: true,
  })
  const passed = await post('authenticate', { setup_intent: setup.id })
  expect(passed.data).toMatchObject({ status: 'succeeded' })
  const { id: price } = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 1000,
    recurring: { interval: 'month' },
    product_data: { name: 'Membership' },
  })
  const { id: subscription } = await stripe.subscriptions.create({ customer, items: [{ price }] })
  const moved = await post('set-subscription-status', { subscription, status: 'unpaid' })
  expect(moved.data).toMatchObject({ id: subscription, status: 'unpaid' })
  expect((await post('set-subscription-status', { subscription, status: 'none' })).status).toBe(400)
})
