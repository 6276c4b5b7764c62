import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { assertSessions } from '../../src/db/assert-sessions.ts'
import { connect } from '../../src/db/connect.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, useFakeStripe } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { adminQuery, withLogin } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { type Pgbouncer, startPgbouncer } from './support/pgbouncer.ts'
import { describeWith } from './support/programs.ts'

describeWith('pgbouncer')('behind PgBouncer in transaction mode', () => {
  useServiceProcesses()
  const database = useTestDatabase()
  const other = useTestDatabase()
  const stripe = useFakeStripe()
  const bouncers: Pgbouncer[] = []
  let pooled = ''

  async function startBouncer(options?: Parameters<typeof startPgbouncer>[1]): Promise<string> {
    const bouncer = await startPgbouncer(inject('testRun').adminConnectionString, options)
    bouncers.push(bouncer)
    const { username: user, password, pathname } = new URL(database.connectionString)
    return withLogin(bouncer.connectionString, { user, password, database: pathname })
  }

  beforeAll(async () => {
    pooled = await startBouncer()
  })
  afterAll(() => Promise.all(bouncers.map((bouncer) => bouncer.stop())))

  describe('a start', () => {
    async function check(
      connectionString: string,
      directConnectionString: string,
      prepareStatements = false,
    ): Promise<void> {
      const db = connect(connectionString)
      try {
        await assertSessions(db, { connectionString, directConnectionString, prepareStatements })
      } finally {
        await db.destroy()
      }
    }

    it('ends if DATABASE_DIRECT_URL is missing, and says so', async () => {
      const process = await startServiceProcess({ DATABASE_URL: pooled })
      await expect(process.ready()).rejects.toThrow(
        'DATABASE_URL leads to a connection pooler in transaction mode, which keeps no sessions. Set DATABASE_DIRECT_URL',
      )
    })

    it('refuses a DATABASE_DIRECT_URL that leads to a pooler or to another database', async () => {
      const elsewhere = new URL(pooled)
      elsewhere.searchParams.set('keepalives', '1')
      await expect(check(pooled, elsewhere.href)).rejects.toThrow('DATABASE_DIRECT_URL leads to')
      await expect(check(pooled, other.connectionString)).rejects.toThrow(
        'DATABASE_DIRECT_URL is not the database of DATABASE_URL',
      )
      await check(pooled, database.connectionString)
    })

    // Debian's PgBouncer is older than 1.21.
    it('refuses PREPARE_STATEMENTS if the pooler mixes up the statements of its clients', async () => {
      const process = await startServiceProcess({
        DATABASE_URL: pooled,
        DATABASE_DIRECT_URL: database.connectionString,
        PREPARE_STATEMENTS: 'true',
      })
      await expect(process.ready()).rejects.toThrow(
        'PREPARE_STATEMENTS is true, and the pooler of DATABASE_URL gives a client the prepared statements of another. Remove the setting',
      )
      // Without a pooler, there is nothing to mix up.
      const direct = new URL(database.connectionString)
      direct.searchParams.set('keepalives', '1')
      await expect(check(database.connectionString, direct.href, true)).resolves.toBeUndefined()
    })

    it('refuses it also if two sessions of the pooler are used in turn', async () => {
      const pooledInTurn = await startBouncer({ inTurn: true })
      const two = await Promise.all(
        [1, 2].map(async () => {
          const client = new pg.Client({ connectionString: pooledInTurn })
          await client.connect()
          await client.query('begin')
          return client
        }),
      )
      for (const client of two) {
        await client.query('rollback')
        await client.end()
      }
      await expect(check(pooledInTurn, database.connectionString, true)).rejects.toThrow(
        'PREPARE_STATEMENTS is true, and the pooler of DATABASE_URL gives',
      )
    })

    it('needs no other address without a pooler, or with one that keeps sessions', async () => {
      const direct = database.connectionString
      await expect(check(direct, direct)).resolves.toBeUndefined()
      const keeping = await startBouncer({ poolMode: 'session' })
      await expect(check(keeping, keeping)).resolves.toBeUndefined()
    })
  })

  describe('two processes', () => {
    let service: ServiceProcess
    beforeAll(async () => {
      const settings = {
        DATABASE_URL: pooled,
        DATABASE_DIRECT_URL: database.connectionString,
        STRIPE_API_BASE: stripe.fake.url,
      }
      const both = ['serve', 'work'].map((RUN) => startServiceProcess({ ...settings, RUN }))
      const [serving, working] = await Promise.all(both)
      await Promise.all([serving?.ready(), working?.ready()])
      if (serving === undefined) throw new Error('No process serves')
      service = serving
    })

    it('carry purchases from order to refund: events, jobs, codes, exports, redemptions, syncs', async () => {
      const shop = await openShop(service)
      const { secret } = stripe.fake.control.addWebhookEndpoint({
        account: shop.stripeKey,
        url: `${service.url}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
      })
      await service.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })

      // Statements are prepared from the fifth time on, if they are.
      const purchases = await Promise.all(Array.from({ length: 8 }, () => shop.buy()))
      const bought = await Promise.all(
        purchases.map(async ({ id }) => {
          stripe.fake.control.pay(await shop.openSession(id))
          await expect.poll(async () => (await shop.get(id)).status, POLL_OPTIONS).toBe('PAID')
          return { id, codes: await shop.codes(id) }
        }),
      )
      expect(new Set(bought.flatMap(({ codes }) => codes)).size).toBe(80)

      const [first] = bought
      const csv = await fetch(`${service.url}${shop.path}/purchases/${first?.id}/vouchers`, {
        headers: { authorization: `Bearer ${shop.sponsorKey}`, accept: 'text/csv' },
      })
      expect((await csv.text()).trim().split('\n')).toHaveLength(11)

      const redeem = (code: string) =>
        service.request('POST', `${shop.path}/vouchers/${code}/redemptions`, {
          body: { reference: `order-${code}` },
        })
      const redeemed = await Promise.all((first?.codes ?? []).slice(0, 6).map(redeem))
      expect(redeemed.map(({ status }) => status)).toEqual(Array(6).fill(201))

      const run = await service.request('POST', `${shop.path}/stripe/payment-intents/sync`)
      const url = `${shop.path}/stripe/sync-runs/${String(run.body['id'])}`
      const state = async () => (await service.request<Body>('GET', url)).body['state']
      await expect.poll(state, POLL_OPTIONS).toBe('succeeded')

      expect(await shop.act(String(first?.id), 'refund', { amount: 3_000 })).toMatchObject({
        status: 200,
      })
      const vouchers = async () => (await shop.get(String(first?.id))).vouchers
      await expect
        .poll(vouchers, POLL_OPTIONS)
        .toMatchObject({ active: 7, deactivated: 3, redeemed: 6 })
    })

    it('keep sessions of their own for notifications and the liveness lock', async () => {
      const sessions = await adminQuery<{ name: string }>(
        database.adminConnectionString,
        `select application_name as name from pg_stat_activity
         where datname = current_database() and query ~ '^(listen|select pg_advisory_lock)' order by 1`,
      )
      expect(sessions.map(({ name }) => name)).toEqual([
        'sponsor-vouchers liveness',
        'sponsor-vouchers notifications',
      ])
    })
  })
})
