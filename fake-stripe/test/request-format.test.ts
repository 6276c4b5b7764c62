import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { refusal, sessionParams, startFake } from './fake-under-test.ts'

type Loose = Stripe.Checkout.SessionCreateParams

// The SDK's types forbid what these tests must send.
const wrong = (params: object) => params as Loose

it('refuses one unknown parameter, and names several at once', async () => {
  const { stripe } = await startFake()
  const one = await refusal(stripe.customers.create({ foo: 'x' } as Stripe.CustomerCreateParams))
  expect(one).toMatchObject({
    statusCode: 400,
    type: 'StripeInvalidRequestError',
    code: 'parameter_unknown',
    param: 'foo',
    message: 'Received unknown parameter: foo',
    doc_url: 'https://docs.stripe.com/error-codes/parameter-unknown',
  })
  const two = await refusal(stripe.customers.list({ foo: 1, bar: 2 } as Stripe.CustomerListParams))
  expect(two.message).toBe('Received unknown parameters: foo, bar')
})

it('names the path of a nested unknown parameter', async () => {
  const { stripe } = await startFake()
  const params = wrong(sessionParams({ payment_intent_data: { foo: 1 } as object }))
  const error = await refusal(stripe.checkout.sessions.create(params))
  expect(error).toMatchObject({ code: 'parameter_unknown', param: 'payment_intent_data[foo]' })
})

it('refuses the parameters that this API version has retired', async () => {
  const { stripe } = await startFake()
  const params = wrong({ ...sessionParams(), payment_method_types: ['card'] })
  const error = await refusal(stripe.checkout.sessions.create(params))
  expect(error.message).toBe('Received unknown parameter: payment_method_types')
})

it('names a missing parameter, nested ones by their path', async () => {
  const { stripe } = await startFake()
  const { success_url: _, ...params } = sessionParams()
  const error = await refusal(stripe.checkout.sessions.create(params))
  expect(error).toMatchObject({
    code: 'parameter_missing',
    param: 'success_url',
    message: 'Missing required param: success_url.',
  })
  const nested = wrong(
    sessionParams({ line_items: [{ quantity: 1, price_data: { unit_amount: 5 } as never }] }),
  )
  expect(await refusal(stripe.checkout.sessions.create(nested))).toMatchObject({
    code: 'parameter_missing',
    param: 'line_items[0][price_data][currency]',
  })
})

it.each([
  [{ amount: 'abc' }, 'parameter_invalid_integer', /^Invalid integer: abc$/, 'amount'],
  [{ amount: 1.5 }, 'parameter_invalid_integer', /^Invalid integer: 1\.5$/, 'amount'],
  [{ amount: 0 }, 'parameter_invalid_integer', /^Invalid positive integer$/, 'amount'],
  [{ amount: -5 }, 'parameter_invalid_integer', /^Invalid positive integer$/, 'amount'],
  [{ confirm: 'yes' }, undefined, /^Invalid boolean: yes$/, 'confirm'],
  [{ currency: 'xyz' }, undefined, /^Invalid currency: xyz/, 'currency'],
  [
    { receipt_email: 'nobody' },
    'email_invalid',
    /^Invalid email address: nobody$/,
    'receipt_email',
  ],
  [{ metadata: 'text' }, undefined, /^Invalid object$/, 'metadata'],
  [{ description: ['a'] }, undefined, /^Invalid string/, 'description'],
  [{ customer: '' }, 'parameter_invalid_empty', /^You passed an empty string/, 'customer'],
])('refuses a value of the wrong kind: %o', async (wrongValue, code, message, param) => {
  const { stripe } = await startFake()
  const params = {
    amount: 1000,
    currency: 'eur',
    ...wrongValue,
  } as Stripe.PaymentIntentCreateParams
  const error = await refusal(stripe.paymentIntents.create(params))
  expect(error).toMatchObject({ statusCode: 400, param })
  expect(error.code).toBe(code)
  expect(error.message).toMatch(message)
})

it('refuses an unknown choice and lists the known ones', async () => {
  const { stripe } = await startFake()
  const params = wrong({ ...sessionParams(), mode: 'gift' })
  const error = await refusal(stripe.checkout.sessions.create(params))
  expect(error.message).toBe('Invalid mode: must be one of payment, setup, or subscription')
})

it('keeps metadata within 50 keys of 40 and values of 500 characters', async () => {
  const { stripe } = await startFake()
  const metadata = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`key_${i}`, 'x'.repeat(500)]),
  )
  const customer = await stripe.customers.create({ metadata })
  expect(customer.metadata).toEqual(metadata)
  for (const tooMuch of [
    { ...metadata, one: 'more' },
    { ['k'.repeat(41)]: 'x' },
    { k: 'x'.repeat(501) },
  ]) {
    const error = await refusal(stripe.customers.create({ metadata: tooMuch }))
    expect(error.statusCode).toBe(400)
    expect(error.param).toMatch(/^metadata/)
  }
})

it('accepts metadata keys that look like list positions, and removes keys by an empty value', async () => {
  const { stripe } = await startFake()
  const { id, metadata } = await stripe.customers.create({ metadata: { 0: 'zero', 7: 'seven' } })
  expect(metadata).toEqual({ 0: 'zero', 7: 'seven' })
  const changed = await stripe.customers.update(id, { metadata: { 0: '', 8: 'eight' } })
  expect(changed.metadata).toEqual({ 7: 'seven', 8: 'eight' })
  const emptied = await stripe.customers.update(id, { metadata: '' })
  expect(emptied.metadata).toEqual({})
})

it('sends Stripe’s headers with every response', async () => {
  const { fake, stripe, secretKey } = await startFake()
  const { lastResponse } = await stripe.customers.create({}, { idempotencyKey: 'key-1' })
  expect(lastResponse.requestId).toMatch(/^req_\w{14}$/)
  expect(lastResponse.apiVersion).toBe('2026-10-28.endive')
  expect(lastResponse.idempotencyKey).toBe('key-1')
  const raw = await fetch(`${fake.url}/v1/customers`, {
    headers: { authorization: `Bearer ${secretKey}`, 'stripe-version': '2025-03-31.basil' },
  })
  expect(raw.headers.get('stripe-version')).toBe('2025-03-31.basil')
  expect(raw.headers.get('content-type')).toContain('application/json')
})

it('refuses an invalid API version', async () => {
  const { fake, secretKey } = await startFake()
  const answer = await fetch(`${fake.url}/v1/customers`, {
    headers: { authorization: `Bearer ${secretKey}`, 'stripe-version': 'latest' },
  })
  expect(answer.status).toBe(400)
  expect(await answer.text()).toContain('Invalid Stripe API version: latest')
})

it('answers unknown URLs, JSON bodies and oversized bodies as Stripe does', async () => {
  const { fake, secretKey } = await startFake()
  const authorization = `Bearer ${secretKey}`
  const unknown = await fetch(`${fake.url}/v1/nothing`, { headers: { authorization } })
  expect(unknown.status).toBe(404)
  expect(await unknown.text()).toContain('Unrecognized request URL (GET: /v1/nothing)')
  const json = await fetch(`${fake.url}/v1/customers`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: '{}',
  })
  expect(json.status).toBe(400)
  expect(await json.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  const large = await fetch(`${fake.url}/v1/customers`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
    body: `description=${'x'.repeat(2_000_000)}`,
  })
  expect(large.status).toBe(413)
})

it('refuses parameters that it does not support instead of ignoring them', async () => {
  const { stripe } = await startFake()
  const error = await refusal(
    stripe.checkout.sessions.create(sessionParams({ discounts: [{ coupon: 'HALF' }] })),
  )
  expect(error.message).toBe('fake-stripe does not support discounts of a session.')
})

it('records every request without its key', async () => {
  const { stripe, control, account, secretKey } = await startFake()
  await stripe.customers.create({ name: 'A' }, { idempotencyKey: 'k1' })
  await refusal(stripe.customers.retrieve('cus_none'))
  const log = control.requests({ account })
  expect(
    log.map(({ method, path, status, idempotencyKey }) => ({
      method,
      path,
      status,
      idempotencyKey,
    })),
  ).toEqual([
    { method: 'POST', path: '/v1/customers', status: 200, idempotencyKey: 'k1' },
    { method: 'GET', path: '/v1/customers/cus_none', status: 404, idempotencyKey: null },
  ])
  expect(log[0]?.params).toEqual({ name: 'A' })
  expect(JSON.stringify(log)).not.toContain(secretKey)
  control.clearRequests()
  expect(control.requests()).toEqual([])
})
