import pg from 'pg'
import { beforeAll, expect, it } from 'vitest'
import { createConference, createStaffKey, type KeyMade } from '../support/fixtures.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { type PostgresServer, startPrimary, startReplica } from './support/postgres.ts'
import { describeWith } from './support/programs.ts'

const OUTCOMES = ['replica', 'own_write', 'lagging', 'unavailable', 'failed'] as const
type Outcome = (typeof OUTCOMES)[number]

describeWith('initdb', 'pg_basebackup')('two processes with a read replica', () => {
  useServiceProcesses()
  const stripe = useFakeStripe()
  let primary: PostgresServer
  let replica: PostgresServer
  let one: ServiceProcess
  let other: ServiceProcess
  /** As the first process sees it. */
  let shop: Shop
  /** Reads and writes nothing. */
  let reader: KeyMade
  let voucherStaff: KeyMade

  const start = async (env: NodeJS.ProcessEnv) => {
    const process = await startServiceProcess({
      DATABASE_URL: primary.connectionString,
      DATABASE_READ_URL: replica.connectionString,
      STRIPE_API_BASE: stripe.fake.url,
      DATABASE_POOL: '8',
      ...env,
    })
    await process.ready()
    return process
  }

  beforeAll(async () => {
    primary = await startPrimary()
    replica = await startReplica(primary)
    // The replica pauses in these tests: what it shows may be an hour old.
    const patient = { DATABASE_READ_MAX_LAG_SECONDS: '3600' }
    ;[one, other] = await Promise.all([start(patient), start({ ...patient, RUN: 'serve' })])
    shop = await openShop(one)
    const { secret } = stripe.fake.control.addWebhookEndpoint({
      account: shop.stripeKey,
      url: `${one.url}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
    })
    await one.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
    reader = await createStaffKey(one, shop, ['purchases:read', 'vouchers:read'])
    voucherStaff = await createStaffKey(one, shop, ['vouchers:read', 'vouchers:write'])
  })

  /** The second process answers; the first one has written. */
  const read = async (path: string, as: string, accept = 'application/json') => {
    const headers = { authorization: `Bearer ${as}`, accept }
    const response = await fetch(`${other.url}${shop.path}${path}`, { headers })
    expect(response.status).toBe(200)
    return response.text()
  }

  const list = (as: string) => read('/purchases?limit=100', as)

  /** The outcomes of the reads of some work. */
  const outcomesOf = async (work: () => Promise<unknown>) => {
    const before = await readOutcomes(other)
    await work()
    const after = await readOutcomes(other)
    return OUTCOMES.flatMap((name) => Array<Outcome>(after[name] - before[name]).fill(name))
  }

  /** Waits until the replica has what this caller must see. */
  const untilReplicaAnswers = (as: string) =>
    expect.poll(() => outcomesOf(() => list(as)), POLL_OPTIONS).toEqual(['replica'])

  const pause = async () => {
    await untilReplicaAnswers(shop.sponsorKey)
    await untilReplicaAnswers(reader.key)
    await replica.query('select pg_wal_replay_pause()')
  }
  const resume = () => replica.query('select pg_wal_replay_resume()')

  /** Codes of a paid purchase. */
  const buyCodes = async () => {
    const { id } = await shop.buy({ quantity: 3 })
    stripe.fake.control.pay(await shop.openSession(id))
    await expect.poll(async () => (await shop.get(id)).status, POLL_OPTIONS).toBe('PAID')
    return id
  }

  it('show a caller its own write at once, and others an older page', async () => {
    await pause()
    const { id } = await shop.buy()
    expect(await outcomesOf(async () => expect(await list(shop.sponsorKey)).toContain(id))).toEqual(
      ['own_write'],
    )
    expect(await outcomesOf(async () => expect(await list(reader.key)).not.toContain(id))).toEqual([
      'replica',
    ])
    // A single purchase is current for everybody, and so are the vouchers of one that the replica lacks.
    expect(await read(`/purchases/${id}`, reader.key)).toContain(id)
    expect(await read(`/purchases/${id}/vouchers`, reader.key)).toContain('"data":[]')
    await resume()
    await untilReplicaAnswers(shop.sponsorKey)
    expect(await list(reader.key)).toContain(id)
  })

  it('show codes to everybody in the conference once an event of Stripe has paid them', async () => {
    await pause()
    const id = await buyCodes()
    for (const { key } of [{ key: shop.sponsorKey }, reader]) {
      const { data } = JSON.parse(await read(`/purchases/${id}/vouchers`, key))
      expect(data).toHaveLength(3)
    }
    await resume()
  })

  it('miss no own write while the replica is late all the time', async () => {
    await replica.query(`alter system set recovery_min_apply_delay = '100ms'`)
    await replica.query('select pg_reload_conf()')
    const outcomes = await outcomesOf(async () => {
      for (let count = 0; count < 20; count += 1) {
        const { id } = await shop.buy()
        const [own] = await Promise.all([list(shop.sponsorKey), list(reader.key)])
        expect(own).toContain(id)
      }
    })
    expect(outcomes).toContain('own_write')
    expect(outcomes.filter((outcome) => outcome === 'replica').length).toBeGreaterThanOrEqual(20)
    await replica.query('alter system reset recovery_min_apply_delay')
    await replica.query('select pg_reload_conf()')
  })

  it('export and report from the replica', async () => {
    const id = await buyCodes()
    const [code = ''] = await shop.codes(id)
    const csv = (key: string) => read(`/purchases/${id}/vouchers`, key, 'text/csv')
    await pause()
    const off = { as: voucherStaff.key }
    await one.request('POST', `${shop.path}/vouchers/${code}/deactivate`, off)
    expect(await csv(voucherStaff.key)).toContain(`${code},0,1,false`)
    // The batch of the purchase, the terms and a slice.
    expect(
      await outcomesOf(async () => expect(await csv(reader.key)).toContain(`${code},0,1,true`)),
    ).toEqual(['replica', 'replica', 'replica'])
    expect(await outcomesOf(() => read('/reports/purchases', reader.key))).toEqual(['replica'])
    await resume()
    const sessions = await replica.query<{ name: string }>(
      'select distinct application_name as name from pg_stat_activity',
    )
    const names = sessions.map(({ name }) => name)
    expect(names).toContain('sponsor-vouchers exports reads')
    expect(names).toContain('sponsor-vouchers api reads')
  })

  it('separate conferences on the replica too', async () => {
    const neighbour = await createConference(one)
    const { key } = await createStaffKey(one, neighbour, ['purchases:read'])
    await untilReplicaAnswers(shop.sponsorKey)
    const answer = await outcomesOf(async () => {
      const { body } = await other.request('GET', `${neighbour.path}/purchases`, { as: key })
      expect(body).toMatchObject({ data: [] })
    })
    expect(answer).toEqual(['replica'])
    const client = new pg.Client(replica.connectionString)
    await client.connect()
    const { rows } = await client.query('select count(*)::int as seen from bulk_purchases')
    await client.end()
    expect(rows).toEqual([{ seen: 0 }])
  })

  it('still show own writes after a crash of the primary, which forgets who wrote', async () => {
    await pause()
    const { id } = await shop.buy()
    await primary.kill()
    await primary.start()
    const lists = () => list(shop.sponsorKey).catch(() => '')
    await expect.poll(lists, POLL_OPTIONS).toContain(id)
    await resume()
  })

  it('answer from the primary while the replica lags too far or is away', async () => {
    const hasty = await start({ RUN: 'serve', DATABASE_READ_MAX_LAG_SECONDS: '1' })
    const get = (path: string) => hasty.request('GET', path, { as: reader.key })
    const path = `${shop.path}/purchases`
    const untilOutcome = (outcome: Outcome) =>
      expect
        .poll(async () => {
          const before = await readOutcomes(hasty)
          expect(await get(path)).toMatchObject({ status: 200 })
          return (await readOutcomes(hasty))[outcome] - before[outcome]
        }, POLL_OPTIONS)
        .toBe(1)
    await untilOutcome('replica')
    await replica.query('select pg_wal_replay_pause()')
    await shop.buy()
    await untilOutcome('lagging')
    await resume()
    await untilOutcome('replica')

    await replica.kill()
    expect(await get(path)).toMatchObject({ status: 200 })
    await untilOutcome('unavailable')
    expect(await hasty.request('GET', '/readyz')).toMatchObject({ status: 200 })
    expect(hasty.output()).toContain('reads go to the primary, not to the read replica')
    await replica.start()
    await untilOutcome('replica')
  })
})

/** How many reads had which outcome. */
async function readOutcomes({ url }: ServiceProcess): Promise<Record<Outcome, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const count = (outcome: Outcome) =>
    Number(text.match(`replica_reads_total{outcome="${outcome}"} (\\d+)`)?.[1] ?? 0)
  return {
    replica: count('replica'),
    own_write: count('own_write'),
    lagging: count('lagging'),
    unavailable: count('unavailable'),
    failed: count('failed'),
  }
}
