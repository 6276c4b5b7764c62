import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { hangAt } from '../support/hang-at.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'

// A process is stopped at a line of its work without a hook in the code: the fake Stripe does not
// answer, or a lock of ours holds the transaction just before its commit. Then it is killed with -9.
// Starting a process costs seconds of CPU, so one is stopped at many points at the same time.

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const start = async (run: 'serve' | 'work', leaseSeconds = 2) => {
  const process = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    // A request to which Stripe does not answer is still waiting when the process is killed.
    STRIPE_TIMEOUT_SECONDS: '300',
    RUN: run,
    LEASE_SECONDS: String(leaseSeconds),
    RECONCILE_AFTER_SECONDS: '3',
    MISSED_EVENTS_EVERY_SECONDS: '2',
  })
  await process.ready()
  return process
}

const rows = <Row = Body>(sql: string, parameters: unknown[] = []) =>
  adminQuery<Row & Body>(database.adminConnectionString, sql, parameters)

/** Holds locks in a transaction of its own until released. */
async function hold(sql: string, parameters: unknown[] = []) {
  const client = new pg.Client({ connectionString: database.adminConnectionString })
  // A failed test leaves the lock to the end of its database.
  client.on('error', () => {})
  await client.connect()
  await client.query('begin')
  await client.query(sql, parameters)
  return {
    async release() {
      await client.query('rollback')
      await client.end()
    },
  }
}

/** Waits until at least so many statements of the service, like the given one, wait for our locks. */
const untilWaiting = (count: number, statement = '%') =>
  vi.waitFor(async () => {
    const waiting = await rows(
      `select query from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and query ilike $1`,
      [statement],
    )
    // A slow machine adds waiting retries.
    expect(waiting.length).toBeGreaterThanOrEqual(count)
  }, POLL_OPTIONS)

const sessionsOf = (purchase: string) => {
  const requests = stripe.fake.control.requests({ method: 'POST', path: '/v1/checkout/sessions' })
  return new Set(
    requests
      .filter(({ params }) => params['client_reference_id'] === purchase)
      .map(({ idempotencyKey }) => idempotencyKey),
  )
}

let server: ServiceProcess
let shop: Shop
/** The purchase whose checkout was cut and is not repeated. */
let abandoned: string
beforeAll(async () => {
  server = await start('serve')
  shop = await openShop({
    request: (method, path, options) => server.request(method, path, options),
  })
})
afterAll(() => server.kill())

describe('a serving process that is killed', () => {
  const SESSIONS = '/v1/checkout/sessions'

  const send = (purchase: string) =>
    server.request('POST', `${shop.path}/purchases/${purchase}/checkout`, {
      as: shop.sponsorKey,
      body: RETURN_URLS,
      headers: { 'idempotency-key': `checkout-${purchase}` },
    })
  const refund = (purchase: string) =>
    server.request('POST', `${shop.path}/purchases/${purchase}/refund`, {
      body: { amount: 3_000 },
      headers: { 'idempotency-key': `refund-${purchase}` },
    })
  const lockPurchase = (purchase: string) =>
    hold('select from bulk_purchases where id = $1 for update', [purchase])

  const purchases = {
    beforeAttempt: '',
    beforeStripe: '',
    afterStripe: '',
    beforeSession: '',
    beforeAnswer: '',
    refund: '',
  }

  beforeAll(async () => {
    for (const point of Object.keys(purchases) as (keyof typeof purchases)[]) {
      purchases[point] = (await shop.buy()).id
    }
    const { body } = await send(purchases.refund)
    stripe.fake.control.pay(String(body['session_id']))
    await shop.act(purchases.refund, 'reconcile')

    const cut: Promise<unknown>[] = []
    const begin = (request: Promise<unknown>) => cut.push(request.catch(() => 'cut'))

    // Stopped where the transition to PROCESSING is written, then again where the answer is kept.
    const transitions = await hold('lock table purchase_transitions in share mode')
    begin(send(purchases.beforeAnswer))
    await untilWaiting(1, '%purchase_transitions%')
    const key = await hold('select from idempotency_keys where key = $1 for update', [
      `checkout-${purchases.beforeAnswer}`,
    ])
    await transitions.release()
    await untilWaiting(1, '%idempotency_keys%')

    await hangAt(stripe.fake, { path: '/v1/refunds', executed: true }, () =>
      begin(refund(purchases.refund)),
    )
    await hangAt(stripe.fake, { path: SESSIONS }, () => begin(send(purchases.beforeStripe)))
    await hangAt(stripe.fake, { path: SESSIONS, executed: true }, () =>
      begin(send(purchases.afterStripe)),
    )
    abandoned = (await shop.buy()).id
    await hangAt(stripe.fake, { path: SESSIONS, executed: true }, () => begin(send(abandoned)))
    const session = await hold('lock table purchase_transitions in share mode')
    begin(send(purchases.beforeSession))
    await untilWaiting(1, '%purchase_transitions%')
    const attempt = await lockPurchase(purchases.beforeAttempt)
    begin(send(purchases.beforeAttempt))
    await untilWaiting(3)

    await server.kill()
    for (const lock of [key, session, attempt]) await lock.release()
    const ends = await Promise.all(cut)
    if (ends.some((end) => end !== 'cut')) throw new Error(`Not all were cut: ${ends.join(', ')}`)
    server = await start('serve')
  }, TEST_TIMEOUT)

  it('before the attempt is written: the repeat opens the one session', async () => {
    const purchase = purchases.beforeAttempt
    expect((await send(purchase)).status).toBe(200)
    expect(await shop.get(purchase)).toMatchObject({
      status: 'PROCESSING',
      checkout: { attempt: 1 },
    })
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
  })

  it('before Stripe has opened the session: the repeat uses the same attempt and key', async () => {
    const purchase = purchases.beforeStripe
    expect((await send(purchase)).status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
  })

  it('after Stripe has opened it: the repeat gets that very session', async () => {
    const purchase = purchases.afterStripe
    const repeat = await send(purchase)
    expect(repeat.status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
    expect(await shop.get(purchase)).toMatchObject({
      status: 'PROCESSING',
      checkout: { attempt: 1, session_id: repeat.body['session_id'] },
    })
  })

  it('before the session is written down: the repeat gets that very session', async () => {
    const purchase = purchases.beforeSession
    const repeat = await send(purchase)
    expect(repeat.status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
    expect(await shop.get(purchase)).toMatchObject({ checkout: { attempt: 1 } })
  })

  it('before the answer is kept: the repeat is answered from the same attempt', async () => {
    const purchase = purchases.beforeAnswer
    const repeat = await send(purchase)
    expect(repeat).toMatchObject({ status: 200 })
    expect(await shop.get(purchase)).toMatchObject({
      status: 'PROCESSING',
      checkout: { attempt: 1, session_id: repeat.body['session_id'] },
    })
  })

  it('during a refund: the repeat refunds once', async () => {
    expect(await refund(purchases.refund)).toMatchObject({
      status: 200,
      body: { amount_refunded: 3_000, vouchers: { active: 7, deactivated: 3 } },
    })
  })
})

describe('a working process that is killed', () => {
  type Order = { id: string; session: string }

  let survivor: ServiceProcess
  let beforeTicket: Order
  let whileReading: Order
  let whileIssuing: Order

  beforeAll(async () => {
    const { secret } = stripe.fake.control.addWebhookEndpoint({
      account: await accountOf(shop),
      url: `${server.url}/webhooks/stripe/${shop.conference}`,
    })
    await server.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })

    beforeTicket = await order()
    whileReading = await order()
    whileIssuing = await order()
    // All events are stored before the worker starts, so that it claims them together.
    for (const { session } of [beforeTicket, whileReading, whileIssuing]) {
      stripe.fake.control.pay(session)
    }
    await stripe.fake.control.waitForDeliveries()
    const [ticket, issuing] = [
      await hold('select from bulk_purchases where id = $1 for update', [beforeTicket.id]),
      await hold('lock table vouchers in share mode'),
    ]
    let doomed: ServiceProcess | undefined
    await hangAt(
      stripe.fake,
      { path: `/v1/payment_intents/${intentOf(whileReading)}` },
      async () => {
        doomed = await start('work')
      },
    )
    await untilWaiting(1, '%reconcile_ticket%')
    await untilWaiting(1, '%insert into vouchers%')
    await doomed?.kill()
    for (const lock of [ticket, issuing]) await lock.release()
    // Its own leases end after the last test.
    survivor = await start('work', 600)
  }, TEST_TIMEOUT)

  /** The fake opens a key's account at its first request. */
  async function accountOf({ stripeKey }: Shop): Promise<string> {
    const headers = { authorization: `Bearer ${stripeKey}` }
    const answer = await fetch(`${stripe.fake.url}/v1/account`, { headers })
    return ((await answer.json()) as { id: string }).id
  }

  async function order(): Promise<Order> {
    const { id } = await shop.buy({ quantity: 40 })
    return { id, session: await shop.openSession(id) }
  }

  function intentOf({ session }: Order): string {
    const found: Body = { ...stripe.fake.control.get(session) }
    return String(found['payment_intent'])
  }

  async function expectPaidOnce({ id }: Order) {
    await expect
      .poll(() => shop.get(id), POLL_OPTIONS)
      .toMatchObject({ status: 'PAID', vouchers: { issued: 40, active: 40 } })
    const codes = await rows<{ code: string }>(
      `select code from vouchers v join voucher_batches b on b.id = v.batch_id where b.purchase_id = $1`,
      [id],
    )
    expect(new Set(codes.map(({ code }) => code)).size).toBe(40)
    const steps = await rows<{ event: string }>(
      `select event from purchase_transitions where purchase_id = $1 order by id`,
      [id],
    )
    expect(steps.filter(({ event }) => event === 'PAYMENT_SUCCEEDED')).toHaveLength(1)
  }

  it('before its reading draws a ticket: another worker makes exactly the codes', () =>
    expectPaidOnce(beforeTicket))

  it('while it reads Stripe: another worker makes exactly the codes', () =>
    expectPaidOnce(whileReading))

  it('in the middle of issuing: nothing is half-written, another worker makes exactly the codes', () =>
    expectPaidOnce(whileIssuing))

  it('after issuing, before the commit: another worker makes no second set', async () => {
    const paid = await order()
    const issuing = await hold('lock table vouchers in share mode')
    stripe.fake.control.pay(paid.session)
    // The survivor of the tests above. It renews its long leases so seldom that no renewal waits
    // for our second lock.
    await untilWaiting(1)
    // This stops the statement after the vouchers.
    const publishing = await hold('lock table webhook_endpoints in exclusive mode')
    await issuing.release()
    await untilWaiting(1, 'select "id", "event_types"%')
    await survivor.kill()
    await publishing.release()
    await rows(
      `update stripe_events set next_attempt_at = now(), lease_until = null where status = 'pending'`,
    )
    survivor = await start('work')
    await expectPaidOnce(paid)
  })

  it('and the checkout that was cut at its session is not repeated: another worker finds the session and closes it', async () => {
    await expect
      .poll(() => shop.get(abandoned), POLL_OPTIONS)
      .toMatchObject({
        status: 'FAILED',
        checkout: { attempt: 1 },
        allowed_actions: expect.arrayContaining(['checkout']),
      })
    expect([...sessionsOf(abandoned)]).toEqual([`bp:${abandoned}:checkout:1`])
    expect(await survivor.terminate()).toBe(0)
  })
})
