import { expect, it } from 'vitest'
import { startFake } from './fake-under-test.ts'

type Params = { [key: string]: unknown }
type Answer = { status: number; body: Record<string, unknown> }

/**
 * Requests as Stripe's Python library forms them: lists have indexes, booleans are `True` and
 * `False` (in all versions inside lists, until version 12 everywhere), the parameters of GET and
 * DELETE are in the URL, and every POST has an idempotency key.
 */
async function startPython() {
  const { fake, secretKey, control, account } = await startFake()
  let count = 0
  const request = async (method: string, path: string, params: Params = {}): Promise<Answer> => {
    const form = new URLSearchParams(encode(params)).toString()
    const isPost = method === 'POST'
    count += 1
    const response = await fetch(`${fake.url}${path}${isPost || form === '' ? '' : `?${form}`}`, {
      method,
      headers: {
        Authorization: `Bearer ${secretKey}`,
        'Stripe-Version': '2026-10-28.endive',
        'User-Agent': 'Stripe/v1 PythonBindings/11.4.1',
        'X-Stripe-Client-User-Agent': '{"lang": "python", "httplib": "requests"}',
        ...(isPost
          ? {
              'Content-Type': 'application/x-www-form-urlencoded',
              'Idempotency-Key': `request-${count}`,
            }
          : {}),
      },
      ...(isPost ? { body: form } : {}),
    })
    return { status: response.status, body: (await response.json()) as Answer['body'] }
  }
  return { request, control, account }
}

function encode(params: Params): [string, string][] {
  return Object.entries(params).flatMap(([key, value]) => encodeValue(key, value))
}

function encodeValue(key: string, value: unknown): [string, string][] {
  if (value === null || value === undefined) return []
  if (Array.isArray(value))
    return value.flatMap((item, index) => encodeValue(`${key}[${index}]`, item))
  if (typeof value === 'object')
    return Object.entries(value).flatMap(([name, item]) => encodeValue(`${key}[${name}]`, item))
  if (typeof value === 'boolean') return [[key, value ? 'True' : 'False']]
  return [[key, `${value as string | number}`]]
}

it('pays with booleans in capitals', async () => {
  const { request } = await startPython()
  const paid = await request('POST', '/v1/payment_intents', {
    amount: 1000,
    currency: 'eur',
    payment_method: 'pm_card_visa',
    automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
    confirm: true,
    off_session: false,
    expand: ['latest_charge.balance_transaction'],
  })
  expect(paid).toMatchObject({
    status: 200,
    body: { status: 'succeeded', latest_charge: { balance_transaction: { amount: 1000 } } },
  })
  const wrong = await request('POST', '/v1/payment_intents', {
    amount: 1000,
    currency: 'eur',
    confirm: 'Yes',
  })
  expect(wrong).toMatchObject({
    status: 400,
    body: { error: { param: 'confirm', message: 'Invalid boolean: Yes' } },
  })
})

it('subscribes, changes and cancels', async () => {
  const { request } = await startPython()
  const { body: product } = await request('POST', '/v1/products', { name: 'P', active: true })
  const { body: price } = await request('POST', '/v1/prices', {
    product: product['id'],
    currency: 'eur',
    unit_amount: 500,
    recurring: { interval: 'month' },
  })
  const { body: customer } = await request('POST', '/v1/customers', { source: 'tok_visa' })
  const { body: created } = await request('POST', '/v1/subscriptions', {
    customer: customer['id'],
    items: [{ price: price['id'], quantity: 2 }],
    metadata: { team: 'A' },
    cancel_at_period_end: false,
  })
  expect(created).toMatchObject({ status: 'active', cancel_at_period_end: false })
  const path = `/v1/subscriptions/${String(created['id'])}`
  const changed = await request('POST', path, { cancel_at_period_end: true })
  expect(changed.body).toMatchObject({ cancel_at_period_end: true })
  const canceled = await request('DELETE', path, { invoice_now: false, prorate: false })
  expect(canceled.body).toMatchObject({ status: 'canceled' })
  const active = await request('GET', '/v1/prices', { active: true, limit: 1 })
  expect(active.body['data']).toHaveLength(1)
})

it('reads the balance, and searches page by page', async () => {
  const { request, control, account } = await startPython()
  expect((await request('GET', '/v1/balance')).body).toMatchObject({ object: 'balance' })
  control.seedCustomers(account, 12)
  const query = "email~'customer-' AND created>0"
  const first = await request('GET', '/v1/customers/search', { query })
  expect(first.body).toMatchObject({ object: 'search_result', has_more: true })
  const page = first.body['next_page']
  const next = await request('GET', '/v1/customers/search', { query, page })
  expect(next.body).toMatchObject({ has_more: false, next_page: null })
  expect(next.body['data']).toHaveLength(2)
})

it.each([
  ['GET', '/v1/credit_notes'],
  ['POST', '/v1/transfers'],
  ['DELETE', '/v1/charges/ch_1'],
  ['GET', '/v2/core/events'],
  ['POST', '/v2/core/event_destinations'],
])('gets an error in Stripe’s form for %s %s', async (method, path) => {
  const { request } = await startPython()
  expect(await request(method, path)).toEqual({
    status: 404,
    body: {
      error: {
        message: expect.stringMatching(
          new RegExp(
            `^Unrecognized request URL \\(${method}: ${path}\\)\\. fake-stripe does not implement this request`,
          ),
        ),
        request_log_url: expect.any(String),
        type: 'invalid_request_error',
      },
    },
  })
})
