import { afterEach, describe, expect, it } from 'vitest'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { addJob } from '../../src/jobs/job-queue.ts'
import { createConference, createTicketType } from '../support/fixtures.ts'
import { startTestProcess, type TestProcess, useTestApp } from '../support/test-app.ts'

const app = useTestApp()
const running: TestProcess[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.close()
})

/** Another process on the same database, with its own metrics. */
async function start(env: NodeJS.ProcessEnv = {}): Promise<TestProcess> {
  const started = await startTestProcess(app.connectionString, { env })
  running.push(started)
  return started
}

const get = (process: Pick<TestProcess, 'request'>, path: string, as: string | null = null) =>
  process.request<string>('GET', path, { as })

/** The lines of one metric, without the common prefix. */
async function metric(process: TestProcess, name: string): Promise<string[]> {
  const { body } = await get(process, '/metrics')
  const prefix = 'sponsor_vouchers_'
  return body
    .split('\n')
    .filter((line) => new RegExp(`^${prefix}${name}[ {]`).test(line))
    .map((line) => line.slice(prefix.length))
}

describe('a probe', () => {
  it('needs no key', async () => {
    expect(await get(app, '/livez')).toMatchObject({ status: 200, body: { status: 'ok' } })
    expect(await get(app, '/readyz')).toMatchObject({ status: 200, body: { status: 'ok' } })
  })

  it('is never rate limited, since all may come from one address', async () => {
    const limited = await start({ RATE_LIMIT_PER_MINUTE: '1' })
    for (const path of ['/livez', '/readyz', '/metrics', '/livez', '/readyz', '/metrics']) {
      expect(await get(limited, path)).toMatchObject({ status: 200 })
    }
  })

  it('reports a schema that is incompatible with this release', async () => {
    await app.db('schema_version').update({ minimum_service_schema: 1_000 })
    try {
      const answer = await get(app, '/readyz')
      expect(answer).toMatchObject({ status: 503, body: { code: 'not_ready' } })
      expect(answer.headers['retry-after']).toBe('2')
    } finally {
      await app.db('schema_version').update({ minimum_service_schema: 1 })
    }
    expect(await get(app, '/readyz')).toMatchObject({ status: 200 })
  })
})

describe('/metrics', () => {
  it('is public, or requires METRICS_TOKEN if it is set', async () => {
    expect(await get(app, '/metrics')).toMatchObject({ status: 200 })
    const guarded = await start({ METRICS_TOKEN: 'a-token-of-prometheus' })
    for (const key of [null, 'a-token-of-prometheu', 'a-token-of-prometheus2']) {
      const refused = await get(guarded, '/metrics', key)
      expect(refused).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    }
    const answer = await get(guarded, '/metrics', 'a-token-of-prometheus')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
  })

  it('counts requests by the pattern of their route, not by their URL', async () => {
    const process = await start()
    const conference = await createConference(process)
    const voucher = `${conference.path}/vouchers/SECRET-CODE`
    await process.request('GET', voucher)
    await process.request('GET', '/nowhere/SECRET-PATH')
    const lines = await metric(process, 'http_request_duration_seconds_count')
    const labels = (route: string, status: number) =>
      `method="GET",route="${route}",status="${status}"`
    expect(lines).toContain(
      `http_request_duration_seconds_count{${labels('/v1/conferences/:conference/vouchers/:code', 404)}} 1`,
    )
    expect(lines).toContain(`http_request_duration_seconds_count{${labels('unknown', 404)}} 1`)
    expect((await get(process, '/metrics')).body).not.toContain('SECRET')
  })

  it('shows the queue of Stripe’s events and the age of its oldest', async () => {
    const { id } = await createConference(app)
    const ago = (seconds: number) => app.db.raw('now() - make_interval(secs => ?)', [seconds])
    const event = {
      conference_id: id,
      type: 'charge.refunded',
      livemode: false,
      body: Buffer.from('{}'),
      source: 'webhook',
      created_at_stripe: ago(100),
    }
    const closed = { finished_at: ago(1), received_at: ago(5_000) }
    await withSystem(app.db, 'store-events', (trx) =>
      trx('stripe_events').insert([
        { ...event, id: 'evt_1', received_at: ago(90) },
        { ...event, id: 'evt_2', received_at: ago(30), attempts: 2, last_error: 'Stripe is away' },
        { ...event, ...closed, id: 'evt_3', status: 'failed' },
        { ...event, ...closed, id: 'evt_4', status: 'done' },
      ]),
    )
    const process = await start()
    expect(await metric(process, 'stripe_events')).toEqual([
      'stripe_events{state="pending"} 2',
      'stripe_events{state="retrying"} 1',
      'stripe_events{state="failed"} 1',
    ])
    const [lag] = await metric(process, 'stripe_event_lag_seconds')
    const seconds = Number(lag?.split(' ')[1])
    expect(seconds).toBeGreaterThanOrEqual(90)
    expect(seconds).toBeLessThan(200)
  })

  it('shows events of the mirror separately', async () => {
    const { id } = await createConference(app)
    const event = {
      conference_id: id,
      type: 'customer.updated',
      livemode: false,
      body: Buffer.from('{}'),
      source: 'webhook',
      created_at_stripe: app.db.fn.now(),
      received_at: app.db.raw(`now() - interval '400 s'`),
      lane: 'mirror',
      mirror_resource: 'customers',
      mirror_id: 'cus_1',
    }
    const queue = async () => {
      const process = await start()
      return [
        ...(await metric(process, 'stripe_events')),
        ...(await metric(process, 'mirror_events')),
      ]
    }
    const before = await queue()
    await withSystem(app.db, 'store-events', (trx) =>
      trx('stripe_events').insert([
        { ...event, id: 'evt_m1' },
        { ...event, id: 'evt_m2', last_error: 'mirror: Stripe is away' },
        { ...event, id: 'evt_m3', status: 'failed', finished_at: app.db.fn.now() },
      ]),
    )
    expect(await queue()).toEqual([
      ...before.slice(0, 3),
      'mirror_events{state="pending"} 2',
      'mirror_events{state="retrying"} 1',
      'mirror_events{state="failed"} 1',
    ])
    const [lag] = await metric(await start(), 'mirror_event_lag_seconds')
    expect(Number(lag?.split(' ')[1])).toBeGreaterThanOrEqual(400)
    const [other] = await metric(await start(), 'stripe_event_lag_seconds')
    expect(Number(other?.split(' ')[1])).toBeLessThan(400)
  })

  it('shows jobs by state', async () => {
    await app.db('graphile_worker._private_jobs').delete()
    const add = (key: string, changes: object) =>
      app.db.transaction(async (trx) => {
        await addJob(trx, 'prune', {}, { jobKey: key })
        await trx('graphile_worker._private_jobs').where({ key }).update(changes)
      })
    await add('ready', { attempts: 1 })
    await add('later', { run_at: app.db.raw(`now() + interval '1 h'`) })
    await add('running', { locked_at: app.db.fn.now(), locked_by: 'pool-a', attempts: 1 })
    const spent = { attempts: app.db.ref('max_attempts') }
    await add('failed', { ...spent, last_error: 'no' })
    // Replaced by a newer job while its worker died: not a failure.
    await add('replaced', { ...spent, key: null })
    const lines = await metric(await start(), 'jobs')
    expect(lines.toSorted()).toEqual(
      ['failed', 'ready', 'running', 'scheduled'].map(
        (state) => `jobs{job_name="prune",state="${state}"} 1`,
      ),
    )
  })

  it('shows purchases with an open flag, each once', async () => {
    const conference = await createConference(app)
    const ticket = await createTicketType(app, conference)
    const bought = await app.request<{ id: string }>('POST', `${conference.path}/purchases`, {
      body: { ticket_type: ticket.id, quantity: 1 },
    })
    expect(bought.status).toBe(201)
    const flag = { conference_id: conference.id, purchase_id: bought.body.id, detail: 'x' }
    const resolved = { resolved_at: app.db.fn.now(), resolved_by: 'key_1', note: 'seen' }
    await withTenant(app.db, { conferenceId: conference.id }, (trx) =>
      trx('purchase_flags').insert([
        { ...flag, code: 'dispute', fact: 'dp_1' },
        { ...flag, code: 'dispute', fact: 'dp_2' },
        { ...flag, code: 'overpaid', fact: 'pi_1', ...resolved },
      ]),
    )
    expect(await metric(await start(), 'flagged_purchases')).toEqual([
      'flagged_purchases{code="dispute"} 1',
    ])
  })

  it('counts background work with few labels', async () => {
    const metrics = createMetrics({ process: false })
    metrics.eventReceived('duplicate')
    metrics.eventReceived('duplicate')
    metrics.eventHandled('retried', 0.2)
    metrics.missedEventsFound(3)
    metrics.stripeRequest('refunds.create', 'unreachable', 20)
    metrics.jobRun('prune', 'failed', 1)
    const text = await metrics.registry.metrics()
    for (const line of [
      'stripe_events_received_total{outcome="duplicate"} 2',
      'stripe_events_received_total{outcome="stored"} 0',
      'stripe_events_handled_total{outcome="retried"} 1',
      'stripe_events_missed_total 3',
      'stripe_request_duration_seconds_count{operation="refunds.create",outcome="unreachable"} 1',
      'job_duration_seconds_count{job_name="prune",outcome="failed"} 1',
    ]) {
      expect(text).toContain(`sponsor_vouchers_${line}\n`)
    }
  })

  it('shows that the database is down, and no old numbers', async () => {
    const lonely = await startTestProcess('postgres://nobody@127.0.0.1:1/nothing')
    running.push(lonely)
    expect(await metric(lonely, 'database_up')).toEqual(['database_up 0'])
    expect(await metric(lonely, 'stripe_events')).toEqual([])
    expect(await get(lonely, '/readyz')).toMatchObject({
      status: 503,
      body: { code: 'database_unavailable' },
    })
    expect(await get(lonely, '/livez')).toMatchObject({ status: 200 })
  })
})
