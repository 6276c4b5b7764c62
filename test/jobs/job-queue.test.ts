import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { JobPayloadError, THROTTLED_JOBS } from '../../src/jobs/job-catalogue.ts'
import { addJob, addJobs, traceparentOf } from '../../src/jobs/job-queue.ts'
import { createJobRegistry, handle, type JobBinding } from '../../src/jobs/job-registry.ts'
import { runWork, type Span } from '../../src/shared/work-context.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { everyHandler } from './job-kit.ts'

const context = {
  jobId: '1',
  attempt: 1,
  isLastAttempt: false,
  signal: new AbortController().signal,
}

describe('adding a job', () => {
  const database = useTestDatabase()
  let db: Db
  beforeAll(() => {
    db = connect(database.connectionString)
  })
  afterAll(() => db.destroy())

  const reconcile = (purchase: string, reason = 'test') => ({
    conference_id: 'conf_1',
    purchase_id: purchase,
    reason,
  })
  const jobs = (key: string) =>
    db('graphile_worker.jobs as view')
      .join('graphile_worker._private_jobs as job', 'job.id', 'view.id')
      .where('view.key', key)
      .select('view.task_identifier', 'view.run_at', 'view.max_attempts', 'job.payload')

  it('puts all jobs of a conference that wait for its rate limit into one queue (issue 8, line 19)', async () => {
    const payload = { conference_id: 'conf_1' }
    await db.transaction(async (trx) => {
      await addJob(trx, 'align_promotion_codes', { ...payload, batch_id: 'batch_1' })
      await addJob(trx, 'read_published_vouchers', payload)
      await addJob(trx, 'end_subscriptions', payload)
    })
    const added = db('graphile_worker.jobs').whereIn('task_identifier', [...THROTTLED_JOBS])
    expect(await added.clone().distinct('queue_name')).toEqual([{ queue_name: 'throttled:conf_1' }])
    expect(await added.pluck('task_identifier')).toHaveLength(THROTTLED_JOBS.size)
  })

  it('marks jobs with the trace that adds them, beside other marks', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    // The queue reads nothing else of it.
    const span = { traceparent } as Span
    const add = () =>
      db.transaction(async (trx) => {
        await addJob(trx, 'reconcile_purchase', reconcile('bp_traced'), { flag: 'waits' })
        await addJobs(trx, 'end_subscriptions', [{ conference_id: 'conf_traced' }])
        await addJobs(trx, 'deliver_webhook', [
          { conference_id: 'conf_traced', endpoint_id: 'we_1', delivery_id: 'msg_1' },
        ])
      })
    const keys = [
      'reconcile_purchase:bp_traced',
      'deliver_webhook:msg_1',
      'end_subscriptions:conf_traced',
    ]
    const flags = () =>
      db('graphile_worker.jobs')
        .whereIn('key', keys)
        .orderBy('key')
        .pluck<(Record<string, boolean> | null)[]>('flags')
    await runWork({ subject: {}, span }, add)
    const mark = `trace:${traceparent}`
    expect(await flags()).toEqual([
      { [mark]: true, 'webhooks:conf_traced': true },
      { [mark]: true },
      { [mark]: true, waits: true },
    ])
    for (const each of await flags()) expect(traceparentOf({ flags: each })).toBe(traceparent)
    await add()
    expect(await flags()).toEqual([{ 'webhooks:conf_traced': true }, null, { waits: true }])
    expect(traceparentOf({ flags: null })).toBeNull()
    await db('graphile_worker._private_jobs').whereIn('key', keys).delete()
  })

  it('adds nothing when its transaction is rolled back', async () => {
    const undone = db.transaction(async (trx) => {
      await addJob(trx, 'reconcile_purchase', reconcile('bp_undone'))
      throw new Error('changed my mind')
    })
    await expect(undone).rejects.toThrow('changed my mind')
    expect(await jobs('reconcile_purchase:bp_undone')).toEqual([])
  })

  it('stores the payload with its version when the transaction commits', async () => {
    await db.transaction((trx) => addJob(trx, 'reconcile_purchase', reconcile('bp_1')))
    expect(await jobs('reconcile_purchase:bp_1')).toMatchObject([
      { task_identifier: 'reconcile_purchase', payload: { ...reconcile('bp_1'), version: 1 } },
    ])
  })

  it('adds one job for many requests for the same purchase', async () => {
    for (const reason of ['view', 'sweep', 'staff']) {
      await db.transaction((trx) => addJob(trx, 'reconcile_purchase', reconcile('bp_2', reason)))
    }
    const found = await jobs('reconcile_purchase:bp_2')
    expect(found).toMatchObject([{ payload: { reason: 'staff' } }])
  })

  it('accepts a later time, another key and another number of attempts', async () => {
    const runAt = new Date('2031-05-06T07:08:09Z')
    const options = { runAt, jobKey: 'by hand', maxAttempts: 2 }
    await db.transaction((trx) => addJob(trx, 'reconcile_purchase', reconcile('bp_3'), options))
    expect(await jobs('by hand')).toMatchObject([{ run_at: runAt, max_attempts: 2 }])
  })

  it('refuses a payload that does not match the job, and the transaction continues', async () => {
    await db.transaction(async (trx) => {
      const wrong = { conference_id: 'conf_1' } as ReturnType<typeof reconcile>
      await expect(addJob(trx, 'reconcile_purchase', wrong)).rejects.toThrow(/purchase_id/)
      await addJob(trx, 'reconcile_purchase', reconcile('bp_4'))
    })
    expect(await jobs('reconcile_purchase:bp_4')).toHaveLength(1)
  })
})

describe('the registry', () => {
  it('refuses to start when a job has no handler', () => {
    const bindings = everyHandler().filter(({ name }) => name !== 'prune')
    expect(() => createJobRegistry(bindings)).toThrow('No handler for job prune')
  })

  it('refuses to start when a job has two handlers', () => {
    const bindings: JobBinding[] = [...everyHandler(), handle('prune', async () => {})]
    expect(() => createJobRegistry(bindings)).toThrow('Job prune has two handlers')
  })

  it('passes the payload to the handler without its version', async () => {
    const seen: unknown[] = []
    const registry = createJobRegistry(
      everyHandler({ find_missed_events: async (payload) => void seen.push(payload) }),
    )
    await registry.get('find_missed_events')?.({ version: 1, conference_id: 'conf_9' }, context)
    expect(seen).toEqual([{ conference_id: 'conf_9' }])
  })

  it.each([
    [{ version: 2, conference_id: 'conf_9' }, 'payload version 2; this release supports version 1'],
    [{ conference_id: 'conf_9' }, 'payload version undefined'],
    [null, 'payload version undefined'],
    [{ version: 1, conference_id: 9 }, 'conference_id'],
    [{ version: 1, conference_id: 'conf_9', more: true }, 'more'],
  ])('refuses the stored payload %j: %s', async (stored, reason) => {
    const run = createJobRegistry(everyHandler()).get('find_missed_events')
    const refusal = run?.(stored, context)
    await expect(refusal).rejects.toBeInstanceOf(JobPayloadError)
    await expect(refusal).rejects.toThrow(reason)
  })
})
