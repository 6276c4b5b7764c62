import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { withAdminClient } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'

// A process is stopped at a line of its work without a hook in the code: the fake Stripe does not
// answer, or a lock of ours holds the transaction just before its commit. Then it is killed with -9.

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const start = (run: 'serve' | 'work' | 'all', leaseSeconds = 2) =>
  startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    RUN: run,
    LEASE_SECONDS: String(leaseSeconds),
    RECONCILE_AFTER_SECONDS: '3',
    MISSED_EVENTS_EVERY_SECONDS: '2',
  })

const rows = <Row = Body>(sql: string, parameters: unknown[] = []) =>
  withAdminClient(database.adminConnectionString, async (client) => {
    const result = await client.query(sql, parameters)
    return result.rows as Row[]
  })

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

/** Waits until some statement of the service waits for our lock. */
const somebodyWaits = () =>
  expect
    .poll(
      async () => {
        const [row] = await rows<{ n: number }>(
          `select count(*)::int as n from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`,
        )
        return row?.n
      },
      { timeout: 15_000 },
    )
    .toBeGreaterThan(0)

const sessionsOf = (purchase: string) => {
  const requests = stripe.fake.control.requests({ method: 'POST', path: '/v1/checkout/sessions' })
  return new Set(
    requests
      .filter(({ params }) => params['client_reference_id'] === purchase)
      .map(({ idempotencyKey }) => idempotencyKey),
  )
}

describe('a serving process that is killed', () => {
  let server: ServiceProcess
  let shop: Shop
  beforeAll(async () => {
    server = await start('serve')
    await server.ready()
    shop = await openShop(server)
  })
  // The last one also works; the workers below are to be alone.
  afterAll(() => server.kill())

  const send = (purchase: string, via: ServiceProcess) =>
    via.request('POST', `${shop.path}/purchases/${purchase}/checkout`, {
      as: shop.sponsorKey,
      body: RETURN_URLS,
      headers: { 'idempotency-key': `checkout-${purchase}` },
    })

  /** Sends the checkout, kills the process when `stuck` says so, and repeats it at a new one. */
  async function killDuring(
    purchase: string,
    stuck: () => Promise<{ release(): Promise<void> | void }>,
    isStuck: () => Promise<unknown>,
  ) {
    const hurdle = await stuck()
    const first = send(purchase, server).catch(() => 'cut')
    await isStuck()
    await server.kill()
    await hurdle.release()
    expect(await first).toBe('cut')
    server = await start('serve')
    await server.ready()
    return send(purchase, server)
  }

  const buy = async () => {
    const answer = await server.request<{ id: string }>('POST', `${shop.path}/purchases`, {
      as: shop.sponsorKey,
      body: { ticket_type: shop.ticketType, quantity: 10 },
    })
    return answer.body.id
  }
  const view = async (purchase: string) =>
    (await server.request<Body>('GET', `${shop.path}/purchases/${purchase}`)).body

  const hang = (executed: boolean) => async () => {
    stripe.fake.control.injectFault({
      path: '/v1/checkout/sessions',
      times: 'always',
      action: { kind: 'hang', executed },
    })
    return { release: () => stripe.fake.control.clearFaults() }
  }
  const stripeWasAsked = (purchase: string) => () =>
    expect.poll(() => sessionsOf(purchase).size, { timeout: 15_000 }).toBe(1)

  it('before the attempt is written: the repeat opens the one session', async () => {
    const purchase = await buy()
    const repeat = await killDuring(
      purchase,
      () => hold('select from bulk_purchases where id = $1 for update', [purchase]),
      somebodyWaits,
    )
    expect(repeat.status).toBe(200)
    expect(await view(purchase)).toMatchObject({ status: 'PROCESSING', checkout: { attempt: 1 } })
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
  })

  it('before Stripe has opened the session: the repeat uses the same attempt and key', async () => {
    const purchase = await buy()
    const repeat = await killDuring(purchase, hang(false), stripeWasAsked(purchase))
    expect(repeat.status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
  })

  it('after Stripe has opened it: the repeat gets that very session', async () => {
    const purchase = await buy()
    const repeat = await killDuring(purchase, hang(true), stripeWasAsked(purchase))
    expect(repeat.status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
    expect(await view(purchase)).toMatchObject({
      status: 'PROCESSING',
      checkout: { attempt: 1, session_id: repeat.body['session_id'] },
    })
  })

  it('before the session is written down: the repeat gets that very session', async () => {
    const purchase = await buy()
    // Late enough that the attempt is committed before our lock is there.
    stripe.fake.control.injectFault({
      path: '/v1/checkout/sessions',
      action: { kind: 'slow', ms: 1_500 },
    })
    const first = send(purchase, server).catch(() => 'cut')
    await stripeWasAsked(purchase)()
    const lock = await hold('select from bulk_purchases where id = $1 for update', [purchase])
    await somebodyWaits()
    await server.kill()
    await lock.release()
    expect(await first).toBe('cut')
    server = await start('serve')
    await server.ready()
    const repeat = await send(purchase, server)
    expect(repeat.status).toBe(200)
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
    expect(await view(purchase)).toMatchObject({ checkout: { attempt: 1 } })
  })

  it('before the answer is kept: the repeat is answered from the same attempt', async () => {
    const purchase = await buy()
    stripe.fake.control.injectFault({
      path: '/v1/checkout/sessions',
      action: { kind: 'slow', ms: 1_500 },
    })
    const first = send(purchase, server).catch(() => 'cut')
    await stripeWasAsked(purchase)()
    const lock = await hold('select from idempotency_keys where key = $1 for update', [
      `checkout-${purchase}`,
    ])
    await somebodyWaits()
    await server.kill()
    await lock.release()
    expect(await first).toBe('cut')
    server = await start('serve')
    await server.ready()
    const repeat = await send(purchase, server)
    expect(repeat).toMatchObject({ status: 200 })
    expect(await view(purchase)).toMatchObject({
      status: 'PROCESSING',
      checkout: { attempt: 1, session_id: repeat.body['session_id'] },
    })
  })

  it('during a refund: the repeat refunds once', async () => {
    const purchase = await buy()
    const { body } = await send(purchase, server)
    stripe.fake.control.pay(String(body['session_id']))
    const url = `${shop.path}/purchases/${purchase}`
    await server.request('POST', `${url}/reconcile`)
    const refund = () =>
      server.request('POST', `${url}/refund`, {
        body: { amount: 3_000 },
        headers: { 'idempotency-key': `refund-${purchase}` },
      })
    stripe.fake.control.injectFault({
      path: '/v1/refunds',
      method: 'POST',
      times: 'always',
      action: { kind: 'hang', executed: true },
    })
    const asked = () => stripe.fake.control.requests({ method: 'POST', path: '/v1/refunds' })
    const before = asked().length
    const first = refund().catch(() => 'cut')
    await expect.poll(() => asked().length, { timeout: 15_000 }).toBeGreaterThan(before)
    await server.kill()
    stripe.fake.control.clearFaults()
    expect(await first).toBe('cut')
    server = await start('serve')
    await server.ready()
    expect(await refund()).toMatchObject({
      status: 200,
      body: { amount_refunded: 3_000, vouchers: { active: 7, deactivated: 3 } },
    })
  })

  it('and nobody repeats the checkout: a worker finds the session and closes it', async () => {
    const purchase = await buy()
    const trouble = await hang(true)()
    const first = send(purchase, server).catch(() => 'cut')
    await stripeWasAsked(purchase)()
    await server.kill()
    trouble.release()
    await first
    const all = await start('all')
    server = all
    await all.ready()
    await expect
      .poll(() => view(purchase), { timeout: 25_000, interval: 200 })
      .toMatchObject({
        status: 'FAILED',
        checkout: { attempt: 1 },
        allowed_actions: expect.arrayContaining(['checkout']),
      })
    expect([...sessionsOf(purchase)]).toEqual([`bp:${purchase}:checkout:1`])
  })
})

describe('a working process that is killed', () => {
  let server: ServiceProcess
  let shop: Shop
  beforeAll(async () => {
    server = await start('serve')
    await server.ready()
    shop = await openShop(server)
    const { secret } = stripe.fake.control.addWebhookEndpoint({
      account: await accountOf(shop),
      url: `${server.url}/webhooks/stripe/${shop.conference}`,
    })
    await server.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
  })

  /** The fake opens a key's account at its first request. */
  async function accountOf({ stripeKey }: Shop): Promise<string> {
    const headers = { authorization: `Bearer ${stripeKey}` }
    const answer = await fetch(`${stripe.fake.url}/v1/account`, { headers })
    return ((await answer.json()) as { id: string }).id
  }

  let purchase: string
  let session: string
  beforeEach(async () => {
    purchase = (await shop.buy({ quantity: 40 })).id
    session = await shop.openSession(purchase)
  })

  async function expectPaidOnce() {
    const survivor = await start('work')
    await expect
      .poll(() => shop.get(purchase), { timeout: 25_000, interval: 200 })
      .toMatchObject({ status: 'PAID', vouchers: { issued: 40, active: 40 } })
    const codes = await rows<{ code: string }>(
      `select code from vouchers v join voucher_batches b on b.id = v.batch_id where b.purchase_id = $1`,
      [purchase],
    )
    expect(new Set(codes.map(({ code }) => code)).size).toBe(40)
    const steps = await rows<{ event: string }>(
      `select event from purchase_transitions where purchase_id = $1 order by id`,
      [purchase],
    )
    expect(steps.filter(({ event }) => event === 'PAYMENT_SUCCEEDED')).toHaveLength(1)
    expect(await survivor.terminate()).toBe(0)
  }

  it('before its reading draws a ticket: another worker makes exactly the codes', async () => {
    const lock = await hold('select from bulk_purchases where id = $1 for update', [purchase])
    const worker = await start('work')
    stripe.fake.control.pay(session)
    await somebodyWaits()
    await worker.kill()
    await lock.release()
    await expectPaidOnce()
  })

  it('while it reads Stripe: another worker makes exactly the codes', async () => {
    stripe.fake.control.injectFault({
      method: 'GET',
      path: '/v1/payment_intents/*',
      times: 'always',
      action: { kind: 'hang' },
    })
    const asked = () =>
      stripe.fake.control.requests({ method: 'GET' }).filter(({ fault }) => fault === 'hang')
    const before = asked().length
    const worker = await start('work')
    stripe.fake.control.pay(session)
    await expect.poll(() => asked().length, { timeout: 15_000 }).toBeGreaterThan(before)
    await worker.kill()
    stripe.fake.control.clearFaults()
    await expectPaidOnce()
  })

  it('in the middle of issuing: nothing is half-written, another worker makes exactly the codes', async () => {
    const lock = await hold('lock table vouchers in share mode')
    const worker = await start('work')
    stripe.fake.control.pay(session)
    await somebodyWaits()
    await worker.kill()
    await lock.release()
    await expectPaidOnce()
  })

  it('after issuing, before the event is done: another worker makes no second set', async () => {
    const issuing = await hold('lock table vouchers in share mode')
    // A renewal of the lease would wait for the row, and our second lock for the renewal.
    const worker = await start('work', 9)
    stripe.fake.control.pay(session)
    await somebodyWaits()
    // The event's row is locked by now; this stops the statement that closes it.
    const closing = await hold('lock table stripe_events in share mode')
    await issuing.release()
    await expect
      .poll(
        async () => {
          const waiting = await rows<{ query: string }>(
            `select query from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and query ilike 'update "stripe_events"%'`,
          )
          return waiting.length
        },
        { timeout: 15_000 },
      )
      .toBe(1)
    await worker.kill()
    await closing.release()
    await expectPaidOnce()
  })
})
