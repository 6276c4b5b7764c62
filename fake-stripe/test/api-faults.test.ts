import { expect, it } from 'vitest'
import { idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

const POST_SESSION = { method: 'POST', path: '/v1/checkout/sessions' } as const

it('limits the rate with Stripe’s headers for the requested number of requests', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({
    path: '/v1/customers',
    times: 2,
    action: { kind: 'rate_limit', retry_after_seconds: 3, reason: 'endpoint-rate' },
  })
  for (let i = 0; i < 2; i++) {
    const error = await refusal(stripe.customers.list())
    expect(error).toMatchObject({
      statusCode: 429,
      type: 'StripeRateLimitError',
      code: 'rate_limit',
      headers: { 'retry-after': '3', 'stripe-rate-limited-reason': 'endpoint-rate' },
    })
  }
  expect((await stripe.customers.list()).data).toEqual([])
  expect(control.faults().api).toEqual([])
})

it('reports a lock timeout without the header, and the SDK retries', async () => {
  const { control, withKey, secretKey } = await startFake()
  control.injectFault({
    path: '/v1/customers',
    action: { kind: 'rate_limit', reason: 'lock_timeout' },
  })
  await withKey(secretKey, 1).customers.create({})
  const requests = control.requests({ path: '/v1/customers' })
  expect(requests.map(({ status }) => status)).toEqual([429, 200])
})

it('fails with 503 without storing it: a retry with the same key succeeds', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ ...POST_SESSION, action: { kind: 'error', status: 503 } })
  const options = { idempotencyKey: 'a' }
  const error = await refusal(stripe.checkout.sessions.create(sessionParams(), options))
  expect(error).toMatchObject({ statusCode: 503, type: 'StripeAPIError' })
  const session = await stripe.checkout.sessions.create(sessionParams(), options)
  expect(session.status).toBe('open')
})

it('can store a 503 and not store a 500', async () => {
  const { stripe, control } = await startFake()
  const create = (key: string) => stripe.customers.create({}, { idempotencyKey: key })
  control.injectFault({ action: { kind: 'error', status: 500, stored: false } })
  await refusal(create('a'))
  await create('a')
  control.injectFault({ action: { kind: 'error', status: 503, stored: true } })
  await refusal(create('b'))
  expect(await refusal(create('b'))).toMatchObject({ statusCode: 503 })
})

it('hangs until the client times out, without executing the request', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ ...POST_SESSION, action: { kind: 'hang' } })
  const options = { idempotencyKey: 'a', timeout: 1000 }
  const error = await refusal(stripe.checkout.sessions.create(sessionParams(), options))
  expect(error.type).toBe('StripeConnectionError')
  expect((await stripe.checkout.sessions.list()).data).toEqual([])
  expect(control.requests(POST_SESSION)).toMatchObject([{ status: null, fault: 'hang' }])
  await stripe.checkout.sessions.create(sessionParams(), { idempotencyKey: 'a' })
})

it('hangs after executing the request; the retry gets its result', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ ...POST_SESSION, action: { kind: 'hang', executed: true } })
  const options = { idempotencyKey: 'a' }
  await refusal(stripe.checkout.sessions.create(sessionParams(), { ...options, timeout: 1000 }))
  const [made] = (await stripe.checkout.sessions.list()).data
  const repeat = await stripe.checkout.sessions.create(sessionParams(), options)
  expect(repeat.id).toBe(made?.id)
})

it('responds late to a slow request, and to other requests meanwhile', async () => {
  const { stripe, control } = await startFake()
  const post = { method: 'POST', path: '/v1/customers' } as const
  control.injectFault({ ...post, action: { kind: 'slow', ms: 10 } })
  const late = await stripe.customers.create({})
  control.injectFault({ ...post, action: { kind: 'slow', ms: 600_000 } })
  // Cut when the fake closes.
  stripe.customers.create({}).catch(() => {})
  await expect.poll(() => control.requests(post)).toHaveLength(2)
  expect((await stripe.customers.list()).data).toMatchObject([{ id: late.id }])
  expect(control.requests(post)).toContainEqual(
    expect.objectContaining({ status: null, fault: 'slow' }),
  )
})

it('cuts the connection before or after execution', async () => {
  const { stripe, control } = await startFake()
  // Twice each: the SDK retries once on a closed connection, also without retries.
  control.injectFault({ path: '/v1/customers', times: 2, action: { kind: 'cut' } })
  const before = await refusal(stripe.customers.create({}, { idempotencyKey: 'a' }))
  expect(before.type).toBe('StripeConnectionError')
  expect(control.requests({ path: '/v1/customers' })).toHaveLength(2)
  expect((await stripe.customers.list()).data).toHaveLength(0)

  control.injectFault({ method: 'POST', times: 2, action: { kind: 'fail_after', how: 'cut' } })
  const after = await refusal(stripe.customers.create({}, { idempotencyKey: 'a' }))
  expect(after.type).toBe('StripeConnectionError')
  const { data } = await stripe.customers.list()
  expect(data).toHaveLength(1)
  const repeat = await stripe.customers.create({}, { idempotencyKey: 'a' })
  expect(repeat.id).toBe(data[0]?.id)
})

it('creates a refund but responds with 500, and replays the 500 under its key', async () => {
  const { stripe, control } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const intent = idOf(control.pay(id).payment_intent)
  control.injectFault({ path: '/v1/refunds', action: { kind: 'fail_after', how: 'status_500' } })
  const params = { payment_intent: intent, amount: 500 }
  for (let i = 0; i < 2; i++) {
    const error = await refusal(stripe.refunds.create(params, { idempotencyKey: 'r1' }))
    expect(error).toMatchObject({ statusCode: 500, type: 'StripeAPIError' })
  }
  const { data } = await stripe.refunds.list({ payment_intent: intent })
  expect(data).toMatchObject([{ amount: 500 }])
  expect(control.events({ type: 'refund.created' })).toHaveLength(1)
})

it('refuses a request before or after its execution', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ path: '/v1/customers', action: { kind: 'refuse', status: 403 } })
  const before = await refusal(stripe.customers.create({}, { idempotencyKey: 'a' }))
  expect(before).toMatchObject({ statusCode: 403, type: 'StripePermissionError' })
  expect((await stripe.customers.list()).data).toHaveLength(0)

  const executed = { kind: 'refuse', status: 401, executed: true } as const
  control.injectFault({ path: '/v1/customers', action: executed })
  const after = await refusal(stripe.customers.create({}, { idempotencyKey: 'a' }))
  expect(after).toMatchObject({ statusCode: 401, type: 'StripeAuthenticationError' })
  const { data } = await stripe.customers.list()
  expect(data).toHaveLength(1)
  const repeat = await stripe.customers.create({}, { idempotencyKey: 'a' })
  expect(repeat.id).toBe(data[0]?.id)
})

it('declines the next confirmation', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({
    method: 'POST',
    path: '/v1/payment_intents',
    action: { kind: 'decline', code: 'insufficient_funds' },
  })
  const params = { amount: 500, currency: 'eur', payment_method: 'pm_card_visa', confirm: true }
  expect(await refusal(stripe.paymentIntents.create(params))).toMatchObject({
    statusCode: 402,
    decline_code: 'insufficient_funds',
  })
  expect((await stripe.paymentIntents.create(params)).status).toBe('succeeded')
})

it('affects only the given method, path and account', async () => {
  const { stripe, control, account, withKey } = await startFake()
  control.injectFault({
    method: 'POST',
    path: '/v1/customers/*',
    account,
    times: 'always',
    action: { kind: 'error' },
  })
  const { id } = await stripe.customers.create({})
  await stripe.customers.retrieve(id)
  await withKey('sk_test_other').customers.create({})
  expect((await refusal(stripe.customers.update(id, { name: 'x' }))).statusCode).toBe(500)
  await stripe.customers.listPaymentMethods(id)
})

it('lets some requests pass first, and can be removed', async () => {
  const { stripe, control } = await startFake()
  const { id } = control.injectFault({ skip: 1, times: 'always', action: { kind: 'error' } })
  await stripe.customers.list()
  await refusal(stripe.customers.list())
  expect(control.faults().api).toMatchObject([{ id, hits: 1 }])
  control.clearFaults(id)
  await stripe.customers.list()
  control.injectFault({ action: { kind: 'error' } })
  control.injectWebhookFault({ kind: 'drop' })
  control.clearFaults()
  expect(control.faults()).toEqual({ api: [], webhooks: [] })
  await stripe.customers.list()
})
