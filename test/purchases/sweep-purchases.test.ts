import { beforeEach, describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/connect.ts'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { sweepPurchases } from '../../src/purchases/sweep-purchases.ts'
import { createConference } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { asAnotherRequest } from '../support/watch-transactions.ts'

const app = useTestApp()
const AFTER = 120
const nothing = { purchases: 0, attempts: 0, refunds: 0 }

beforeEach(async () => {
  // As an administrator: the service's role can only append to the history.
  await app.rows('truncate bulk_purchases cascade')
  await app.db('graphile_worker._private_jobs').delete()
})

const inConference = <T>(conferenceId: string, work: (trx: Tx) => Promise<T>) =>
  withTenant(app.db, { conferenceId }, work)

const sweep = () => withSystem(app.db, 'timers', (trx) => sweepPurchases(trx, AFTER))

const jobs = () =>
  app
    .db('graphile_worker.jobs as view')
    .join('graphile_worker._private_jobs as job', 'job.id', 'view.id')
    .orderBy('view.id')
    .select('view.task_identifier as task', 'job.payload')

let counter = 0

type Ages = { status?: string; updated?: number; reconciled?: number | null }

/** A purchase whose last change and last reading are so many seconds ago. */
async function purchase(conference: string, ages: Ages = {}): Promise<string> {
  counter += 1
  const id = `bp_${counter}`
  const ago = (seconds: number) => app.db.raw('now() - make_interval(secs => ?)', [seconds])
  await inConference(conference, (trx) =>
    trx('bulk_purchases').insert({
      conference_id: conference,
      id,
      status: ages.status ?? 'PROCESSING',
      quantity: 1,
      unit_amount: 100,
      total_amount: 100,
      currency: 'EUR',
      description: 'Tickets',
      voucher_type: 'comp',
      discount_value: 0,
      max_uses: 1,
      unlocks_hidden_tickets: false,
      code_prefix: '',
      requested_by: 'test',
      updated_at: ago(ages.updated ?? 0),
      reconciled_at: typeof ages.reconciled === 'number' ? ago(ages.reconciled) : null,
    }),
  )
  return id
}

const conference = async () => (await createConference(app)).id

describe('stale purchases', () => {
  it('of every conference get a reconcile job, the oldest first', async () => {
    const [one, two] = [await conference(), await conference()]
    await app.db('graphile_worker._private_jobs').delete()
    const read = await purchase(one, { reconciled: 200, updated: 5 })
    const readEarlier = await purchase(two, { reconciled: 300 })
    const neverRead = await purchase(one, { updated: 150 })
    expect(await sweep()).toEqual({ ...nothing, purchases: 3 })
    expect(await jobs()).toMatchObject(
      [
        [one, neverRead],
        [two, readEarlier],
        [one, read],
      ].map(([conference_id, purchase_id]) => ({
        task: 'reconcile_purchase',
        payload: { conference_id, purchase_id, reason: 'sweep' },
      })),
    )
  })

  it('are swept by one process at a time, so that two never deadlock and none gets two jobs', async () => {
    await purchase(await conference(), { updated: 500 })
    const waiting = () =>
      app.rows(
        `select from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and locktype = 'advisory' and not granted`,
      )
    let second: ReturnType<typeof sweep> | undefined
    const first = await withSystem(app.db, 'timers', async (trx) => {
      const counts = await sweepPurchases(trx, AFTER)
      second = asAnotherRequest(sweep)
      await expect.poll(waiting).toHaveLength(1)
      return counts
    })
    expect(first).toEqual({ ...nothing, purchases: 1 })
    expect(await second).toEqual(nothing)
  })

  it('do not include fresh ones, or those that are not PROCESSING', async () => {
    const id = await conference()
    await purchase(id, { reconciled: AFTER - 20, updated: 500 })
    await purchase(id, { updated: AFTER - 20 })
    await purchase(id, { status: 'PENDING', updated: 500 })
    await purchase(id, { status: 'FAILED', updated: 500 })
    expect(await sweep()).toEqual(nothing)
  })

  it('get no second job while one is pending, but a new one after it failed', async () => {
    const id = await conference()
    await purchase(id, { updated: 500 })
    expect(await sweep()).toEqual({ ...nothing, purchases: 1 })
    expect(await sweep()).toEqual(nothing)
    const job = app.db('graphile_worker._private_jobs').whereLike('key', 'reconcile_purchase:%')
    await job.clone().update({ attempts: app.db.ref('max_attempts'), last_error: 'no' })
    expect(await sweep()).toEqual({ ...nothing, purchases: 1 })
    expect(await job.clone().select('attempts', 'last_error')).toEqual([
      { attempts: 0, last_error: null },
    ])
  })
})

describe('after a crash', () => {
  const ago = (seconds: number) => app.db.raw('now() - make_interval(secs => ?)', [seconds])

  it('attempts without a known session get a job', async () => {
    const id = await conference()
    await app.db('graphile_worker._private_jobs').delete()
    const [stale, fresh, open] = [
      await purchase(id, { status: 'PENDING' }),
      await purchase(id, { status: 'PENDING' }),
      await purchase(id, { status: 'PENDING' }),
    ]
    const attempt = { conference_id: id, params: '{}', created_at: ago(900) }
    await inConference(attempt.conference_id, (trx) =>
      trx('payment_attempts').insert([
        { ...attempt, purchase_id: stale, attempt: 2, updated_at: ago(200) },
        { ...attempt, purchase_id: fresh, attempt: 1, updated_at: ago(60) },
        {
          ...attempt,
          purchase_id: open,
          attempt: 1,
          state: 'open',
          session_id: 'cs_1',
          updated_at: ago(200),
        },
      ]),
    )
    expect(await sweep()).toEqual({ ...nothing, attempts: 1 })
    const payload = { conference_id: id, purchase_id: stale, attempt: 2, version: 1 }
    expect(await jobs()).toEqual([{ task: 'finish_attempt', payload }])
    expect(await sweep()).toEqual(nothing)
  })

  it('refund requests without a known outcome get a job', async () => {
    const id = await conference()
    await app.db('graphile_worker._private_jobs').delete()
    const paid = await purchase(id, { status: 'PENDING' })
    const request = {
      conference_id: id,
      purchase_id: paid,
      payment_intent_id: 'pi_1',
      amount: 50,
      requested_by: 'test',
      created_at: ago(900),
    }
    await inConference(request.conference_id, (trx) =>
      trx('refund_requests').insert([
        { ...request, id: 'rr_stale', updated_at: ago(200) },
        { ...request, id: 'rr_fresh', updated_at: ago(60) },
        { ...request, id: 'rr_no', state: 'refused', updated_at: ago(200) },
      ]),
    )
    expect(await sweep()).toEqual({ ...nothing, refunds: 1 })
    const payload = { conference_id: id, purchase_id: paid, id: 'rr_stale', version: 1 }
    expect(await jobs()).toEqual([{ task: 'finish_refund', payload }])
    expect(await sweep()).toEqual(nothing)
  })
})
