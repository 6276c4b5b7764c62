import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect as connectSocket, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { eventOf, sign } from '../stripe-events/inbox-app.ts'
import { createConference } from '../support/fixtures.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, useFakeStripe } from '../support/shop.ts'
import { OPERATOR_KEY } from '../support/test-app.ts'
import { withAdminClient } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'

useServiceProcesses()
const database = useTestDatabase()

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

/** Requests an export and reads nothing but its status, when the first bytes are here. */
async function downloadUnread(address: string, path: string): Promise<string> {
  const { hostname, port } = new URL(address)
  const socket = connectSocket(Number(port), hostname)
  sockets.push(socket)
  const headers = [`host: ${hostname}`, `authorization: Bearer ${OPERATOR_KEY}`]
  const lines = [`GET ${path} HTTP/1.1`, ...headers, 'accept: application/x-ndjson', '', '']
  socket.write(lines.join('\r\n'))
  await new Promise((resolve) => socket.once('readable', resolve))
  return String(socket.read(12))
}

const stripe = useFakeStripe()

const start = async (settings: NodeJS.ProcessEnv = {}) => {
  const process = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    RECONCILE_AFTER_SECONDS: '1',
    ...settings,
  })
  await process.ready()
  return process
}

/** A conference, and its webhook as Stripe calls it. */
async function openConference(service: ServiceProcess) {
  const conference = await createConference(service, { max_quantity: 60_000 })
  const { path, slug } = conference
  const secret = 'whsec_of_the_slow_readers'
  await service.request('POST', `${path}/webhook-secrets`, { body: { secret } })
  const deliver = () => {
    const body = eventOf('customer.updated', { id: 'cus_1', object: 'customer' })
    const headers = { 'stripe-signature': sign(JSON.stringify(body), secret) }
    return service.request('POST', `/webhooks/stripe/${slug}`, { as: null, body, headers })
  }
  return { path, deliver }
}

describe('a process with one connection for each kind of work', () => {
  it('sells and refunds, because nothing takes a second connection while it holds one (issue 8, line 20)', {
    timeout: TEST_TIMEOUT,
  }, async () => {
    const service = await start({ DATABASE_POOL: '2' })
    const shop = await openShop(service)
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    // No webhook is sent: a job finds the payment.
    await vi.waitUntil(async () => (await shop.get(id)).status === 'PAID', POLL_OPTIONS)
    expect(await shop.act(id, 'refund', { amount: 3_000 })).toMatchObject({ status: 200 })
    await vi.waitUntil(async () => (await shop.get(id)).vouchers.active === 7, POLL_OPTIONS)
    const sync = await service.request('POST', `${shop.path}/stripe/refunds/sync`)
    expect(sync.status).toBe(202)
    const run = `${shop.path}/stripe/sync-runs/${String(sync.body['id'])}`
    await vi.waitUntil(async () => {
      const { body } = await service.request('GET', run)
      return body['state'] === 'succeeded'
    }, POLL_OPTIONS)
    // Its workers would take the jobs of the other tests.
    await service.kill()
  })
})

describe('a process for all conferences', () => {
  let service: ServiceProcess
  let mails: string
  beforeAll(async () => {
    mails = await mkdtemp(join(tmpdir(), 'mails-'))
    service = await start({ WEBHOOKS_ALLOW_LOOPBACK: 'true', MAIL_FOLDER: mails })
  })
  afterAll(async () => {
    await service.kill()
    await rm(mails, { recursive: true })
  })

  it('Sixteen unread downloads of 60,000 codes delay neither requests nor webhooks (issue 8, line 16)', {
    timeout: TEST_TIMEOUT,
  }, async () => {
    const { path, deliver } = await openConference(service)
    const batch = await service.request('POST', `${path}/voucher-batches`, {
      body: { count: 60_000, voucher_type: 'comp', prefix: 'SLOW-' },
    })
    expect(batch.status).toBe(201)
    const vouchers = `${path}/voucher-batches/${String(batch.body['id'])}/vouchers`
    const unread = Array.from({ length: 16 }, () => downloadUnread(service.url, vouchers))
    expect(new Set(await Promise.all(unread))).toEqual(new Set(['HTTP/1.1 200']))

    const requests = [path, `${path}/purchases`, `${path}/vouchers`, '/readyz']
    const answers = await Promise.all(requests.map((each) => service.request('GET', each)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await deliver()).toMatchObject({ status: 200, body: { received: true } })

    // A reader that does read gets everything, while the others do not.
    const response = await fetch(`${service.url}${vouchers}`, {
      headers: { authorization: `Bearer ${OPERATOR_KEY}`, accept: 'text/csv' },
    })
    const lines = (await response.text()).trim().split('\n')
    expect(new Set(lines.slice(1)).size).toBe(60_000)
  })

  it('Requests that all wait in the database leave connections for webhooks and readiness (issue 8, line 16)', {
    timeout: TEST_TIMEOUT,
  }, async () => {
    const { path, deliver } = await openConference(service)
    await withAdminClient(database.adminConnectionString, async (admin) => {
      await admin.query('begin')
      await admin.query('lock table sponsors')
      const waiting = Array.from({ length: 20 }, () => service.request('GET', `${path}/sponsors`))
      await vi.waitUntil(async () => {
        await admin.query('select pg_stat_clear_snapshot()')
        const { rows } = await admin.query<{ count: string }>(
          `select count(*) from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        )
        return Number(rows[0]?.count) >= 6
      }, POLL_OPTIONS)
      expect(await deliver()).toMatchObject({ status: 200, body: { received: true } })
      expect(await service.request('GET', '/readyz')).toMatchObject({ status: 200 })
      await admin.query('rollback')
      await Promise.all(waiting)
    })
  })

  it('Sixteen endpoints that do not answer delay no mail (issue 8, line 19)', {
    timeout: TEST_TIMEOUT,
  }, async () => {
    const held = new Set<ServerResponse>()
    const receiver = createServer((_request, response) => void held.add(response))
    await new Promise<void>((resolve) => void receiver.listen(0, '127.0.0.1', resolve))
    const { port } = receiver.address() as AddressInfo
    const shop = await openShop(service)
    for (let i = 0; i < 16; i += 1) {
      const body = { url: `http://127.0.0.1:${port}/${i}` }
      expect(
        (await service.request('POST', `${shop.path}/webhook-endpoints`, { body })).status,
      ).toBe(201)
    }
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    // As many as a conference may have in flight.
    await vi.waitUntil(() => held.size >= 4, POLL_OPTIONS)
    await vi.waitUntil(async () => (await readdir(mails)).length > 0, POLL_OPTIONS)
    const { data } = (
      await service.request<{ data: { attempts: number }[] }>(
        'GET',
        `${shop.path}/webhook-endpoints/${await endpointOf(service, shop.path)}/deliveries`,
      )
    ).body
    expect(data.map(({ attempts }) => attempts)).toEqual(data.map(() => 0))
    receiver.closeAllConnections()
    receiver.close()
  })

  it('Sync runs that hang occupy one worker, and another conference syncs meanwhile (issue 8, line 19)', {
    timeout: TEST_TIMEOUT,
  }, async () => {
    const [slow, other] = [await openShop(service), await openShop(service)]
    const resources = ['customers', 'coupons', 'products', 'prices']
    for (const resource of resources) {
      const path = `/v1/${resource}`
      stripe.fake.control.injectFault({ path, times: 'always', action: { kind: 'hang' } })
      await service.request('POST', `${slow.path}/stripe/${resource}/sync`)
    }
    const sync = await service.request('POST', `${other.path}/stripe/refunds/sync`)
    const run = (path: string, id: unknown) =>
      service.request('GET', `${path}/stripe/sync-runs/${String(id)}`)
    await vi.waitUntil(
      async () => (await run(other.path, sync.body['id'])).body['state'] === 'succeeded',
      POLL_OPTIONS,
    )
    const states = async () => {
      const { body } = await service.request<{ data: { state: string }[] }>(
        'GET',
        `${slow.path}/stripe/sync-runs`,
      )
      return body.data.map(({ state }) => state).toSorted()
    }
    // The sync of the other conference may have overtaken the start of the first run.
    await expect.poll(states, POLL_OPTIONS).toEqual(['queued', 'queued', 'queued', 'running'])
    stripe.fake.control.clearFaults()
  })
})

async function endpointOf(service: ServiceProcess, path: string): Promise<string> {
  const { body } = await service.request<{ data: { id: string }[] }>(
    'GET',
    `${path}/webhook-endpoints`,
  )
  return body.data[0]?.id ?? ''
}
