import { beforeAll, describe, expect, it, vi } from 'vitest'
import { type ReceivedSpan, useOtlpReceiver } from '../support/otlp-receiver.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import { OPERATOR_KEY } from '../support/test-app.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()
const collector = useOtlpReceiver()

const start = async (env: NodeJS.ProcessEnv) => {
  const started = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    LOG_LEVEL: 'debug',
    ...env,
  })
  await started.ready()
  return started
}

/** Spans are exported at once, and as JSON, which the collector of this file reads. */
const traced = () => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  OTEL_BSP_SCHEDULE_DELAY: '50',
  OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
})

const named = (name: string) => collector.spans.filter((span) => span.name === name)
const idOf = (span: ReceivedSpan) => span.attributes['sponsor_vouchers.purchase_id']

/** The names of a span and of those above it, up to the first of the trace. */
function pathTo(span: ReceivedSpan): string[] {
  const parent = collector.spans.find(({ spanId }) => spanId === span.parentSpanId)
  return [...(parent === undefined ? [] : pathTo(parent)), span.name]
}

const CHECKOUT = 'POST /v1/conferences/:conference/purchases/:purchase/checkout'

let service: ServiceProcess
let shop: Shop
let purchase: string
let codes: string[]
let checkout: ReceivedSpan

/** Waits until such a span is exported. */
const spanWhere = (is: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> =>
  vi.waitFor(() => {
    const found = collector.spans.find(is)
    if (found === undefined) throw new Error('No such span is exported')
    return found
  }, POLL_OPTIONS)

const spanOf = (name: string) => spanWhere((span) => span.name === name && idOf(span) === purchase)
const inTrace = (name: string) =>
  spanWhere((span) => span.name === name && span.traceId === checkout.traceId)

beforeAll(async () => {
  service = await start({ ...traced(), RUN: 'all' })
  shop = await openShop({
    request: (method, path, options) => service.request(method, path, options),
  })
  const slug = shop.path.split('/').at(-1)
  const { secret } = stripe.fake.control.addWebhookEndpoint({
    account: shop.stripeKey,
    url: `${service.url}/webhooks/stripe/${slug}`,
  })
  await service.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
  purchase = (await shop.buy({ quantity: 3 })).id
  stripe.fake.control.pay(await shop.openSession(purchase))
  await vi.waitUntil(async () => (await shop.get(purchase)).status === 'PAID', POLL_OPTIONS)
  codes = await shop.codes(purchase)
  checkout = await spanOf(CHECKOUT)
})

describe('the trace of a purchase', () => {
  it('leads from the checkout through its Stripe event to the codes', async () => {
    const issued = await inTrace('issue vouchers')
    // A step is exported before the one that it is part of.
    await expect.poll(() => pathTo(issued)[0], POLL_OPTIONS).toBe(CHECKOUT)
    const path = pathTo(issued)
    expect(path[1]).toMatch(
      /^stripe event (checkout\.session\.completed|payment_intent\.|charge\.)/,
    )
    expect(path.at(-1)).toBe('issue vouchers')
    expect(Number(issued.attributes['sponsor_vouchers.vouchers_issued'])).toBe(3)
    const event = await spanWhere(({ spanId }) => spanId === issued.parentSpanId)
    expect(event).toMatchObject({ kind: 5, parentSpanId: checkout.spanId, failed: false })
    expect(event.attributes).toMatchObject({
      'sponsor_vouchers.purchase_id': purchase,
      'sponsor_vouchers.conference_id': shop.conference,
      'sponsor_vouchers.stripe_event_id': expect.stringMatching(/^evt_/),
    })
  })

  it('shows the requests to Stripe and the statements of each step', async () => {
    const below = (span: ReceivedSpan) =>
      collector.spans.filter(({ parentSpanId }) => parentSpanId === span.spanId)
    expect(checkout).toMatchObject({ kind: 2, failed: false })
    expect(checkout.attributes).toMatchObject({
      'service.name': 'sponsor-vouchers',
      'deployment.environment.name': 'test',
      'http.request.method': 'POST',
      'http.route': '/v1/conferences/:conference/purchases/:purchase/checkout',
      'sponsor_vouchers.request_id': expect.stringMatching(/^req_/),
    })
    expect(Number(checkout.attributes['http.response.status_code'])).toBe(200)
    const names = below(checkout).map(({ name }) => name)
    expect(names).toEqual(
      expect.arrayContaining([
        'insert payment_attempts',
        'stripe checkout.sessions.create',
        'commit',
      ]),
    )
    expect(below(checkout).find(({ name }) => name.startsWith('stripe '))).toMatchObject({
      kind: 3,
      attributes: { 'http.request.method': 'POST', 'server.address': '127.0.0.1' },
    })
    const issued = await inTrace('issue vouchers')
    const event = await spanWhere(({ spanId }) => spanId === issued.parentSpanId)
    expect(below(event).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['stripe checkout.sessions.retrieve', 'update stripe_events']),
    )
    expect(below(issued).map(({ name }) => name)).toContain('insert vouchers')
  })

  it('continues in the jobs that the payment causes', async () => {
    const mail = await inTrace('job mail_purchase')
    expect(mail.kind).toBe(5)
    expect(idOf(mail)).toBe(purchase)
    await expect.poll(() => pathTo(mail)[0], POLL_OPTIONS).toBe(CHECKOUT)
  })

  it('ends before a later refund, whose event has its own trace with a link to the checkout', async () => {
    await shop.act(purchase, 'refund', { quantity: 1 })
    await stripe.fake.control.waitForDeliveries()
    const event = await spanWhere(
      (span) =>
        /^stripe event (refund\.|charge\.refund)/.test(span.name) && idOf(span) === purchase,
    )
    expect(event.traceId).not.toBe(checkout.traceId)
    expect(event.links).toEqual([checkout.spanId])
  })

  it('continues the trace of a caller that sends one', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await service.request('GET', shop.path, { headers: { traceparent } })
    await expect
      .poll(() => collector.spans.map(({ parentSpanId }) => parentSpanId), POLL_OPTIONS)
      .toContain('b7ad6b7169203331')
  })
})

it('contains no code, key, secret, address or message of an error', async () => {
  const [code = ''] = codes
  for (const [method, path] of [
    ['GET', `${shop.path}/vouchers/${code}`],
    ['POST', `${shop.path}/vouchers/${code}/redemptions`],
    ['GET', `${shop.path}/purchases/${code}`],
    ['GET', `${shop.path}/purchases?q=team@acme.example`],
    ['GET', `/no/such/page/${code}`],
  ] as const) {
    await service.request(method, path, method === 'POST' ? { body: { reference: code } } : {})
  }
  const redeemed = `POST /v1/conferences/:conference/vouchers/:code/redemptions`
  await expect.poll(() => named(redeemed), POLL_OPTIONS).not.toEqual([])
  await expect
    .poll(() => named('GET /v1/conferences/:conference/purchases'), POLL_OPTIONS)
    .toHaveLength(1)
  const all = JSON.stringify(collector.spans)
  for (const secret of [
    ...codes,
    shop.sponsorKey,
    shop.stripeKey,
    OPERATOR_KEY,
    'team@acme.example',
  ]) {
    expect(all).not.toContain(secret)
  }
  expect(all).not.toMatch(/whsec_|sk_test_|"url|message|stack/)
})

it('shows no probes, and nothing that no one waits for, such as the polls of a worker', () => {
  const first = collector.spans.filter(({ parentSpanId }) => parentSpanId === '')
  for (const { name } of first)
    expect(name).toMatch(/^(GET|POST|PATCH) \/(v1|webhooks)\/|^job |^stripe event /)
})

it('names its trace in the lines of the log', () => {
  const line = service
    .output()
    .split('\n')
    .find(
      (each) => each.includes(CHECKOUT.slice('POST '.length)) && each.includes('"msg":"request"'),
    )
  expect(JSON.parse(line ?? '{}')).toMatchObject({ trace_id: checkout.traceId, purchase })
})

it('is in every line that concerns the purchase, with the ids of request, event and job', () => {
  const lines = service
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const requests = lines.filter(({ msg }) => msg === 'request' || msg === 'request refused')
  expect(requests.length).toBeGreaterThan(10)
  for (const line of requests) expect(line).toMatchObject({ reqId: expect.any(String) })
  const jobs = lines.filter(({ msg }) => msg === 'job done')
  for (const line of jobs) expect(line).toMatchObject({ job: expect.any(String) })
  expect(jobs).toContainEqual(expect.objectContaining({ job: 'mail_purchase', purchase }))
})
