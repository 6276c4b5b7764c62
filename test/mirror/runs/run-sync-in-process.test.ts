import { beforeEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import { NO_OPTIONS, type SyncRunOptions } from '../../../src/mirror/runs/sync-run.ts'
import { workOnSyncRun } from '../../../src/mirror/runs/sync-run-job.ts'
import { claimSyncRun, insertSyncRun } from '../../../src/mirror/runs/sync-run-store.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let customers: StripeCustomerAction
beforeEach(async () => {
  shop = await scene.openWiredShop()
  customers = new StripeCustomerAction(scene.context(shop))
})

/** A run that another process started and, with a lease, holds. */
async function runOfAnother(options: Partial<SyncRunOptions> = {}, leaseSeconds?: number) {
  const conferenceId = shop.conference
  return withTenant(scene.db, { conferenceId }, async (trx) => {
    const { id } = await insertSyncRun(trx, {
      conferenceId,
      resource: 'customers',
      startedBy: 'api',
      options: { ...NO_OPTIONS, ...options },
    })
    const ref = { conferenceId, runId: id }
    if (leaseSeconds !== undefined) await claimSyncRun(trx, ref, leaseSeconds)
    return ref
  })
}

const jobsOf = (runId: string) =>
  scene.rows<{ wait: number }>(
    `select extract(epoch from run_at - now())::float as wait from graphile_worker.jobs
     where key = $1`,
    [`run_sync:${runId}`],
  )

describe('a run in the process that starts it', () => {
  it('has a job with which a worker takes it over if no process holds it', async () => {
    scene.fake.control.seedCustomers(shop.stripeKey, 120)
    let waits = Promise.resolve<number[]>([])
    const run = await customers.syncAll({
      leaseSeconds: 30,
      onProgress: ({ id, state }) => {
        if (state === 'running') waits = jobsOf(id).then((jobs) => jobs.map(({ wait }) => wait))
      },
    })
    expect(run.state).toBe('succeeded')
    expect(await waits).toEqual([expect.closeTo(20, -1)])
    // The worker finds nothing to do.
    const options = { signal: new AbortController().signal, isLastTry: false }
    const ref = { conferenceId: shop.conference, runId: run.id }
    await workOnSyncRun({ ...scene.deps, leaseSeconds: 30 }, ref, options)
    expect(await scene.stored(shop, 'customers')).toHaveLength(120)
  })

  it('gets another job if the process still holds it', async () => {
    const ref = await runOfAnother({}, 25)
    const options = { signal: new AbortController().signal, isLastTry: false }
    await workOnSyncRun({ ...scene.deps, leaseSeconds: 30 }, ref, options)
    const [job] = await jobsOf(ref.runId)
    expect(job?.wait).toBeGreaterThan(15)
    expect(job?.wait).toBeLessThan(26)
  })

  it('has no job if it has hooks that the worker does not have', async () => {
    class Own extends StripeCustomerAction {
      protected override postSetDefault(): void {}
    }
    const { id } = await new Own(scene.context(shop)).syncAll()
    expect(await jobsOf(id)).toEqual([])
  })
})

describe('a run that another process started', () => {
  it('is resumed when its lease has expired', async () => {
    scene.fake.control.seedCustomers(shop.stripeKey, 5)
    const { runId } = await runOfAnother({}, -1)
    const begun: [string, boolean][] = []
    const run = await customers.syncAll({
      onBegin: ({ id }, isResumed) => void begun.push([id, isResumed]),
    })
    expect(begun).toEqual([[runId, true]])
    expect(run).toMatchObject({ id: runId, state: 'succeeded', startedBy: 'api' })
    expect(await jobsOf(runId)).toHaveLength(1)
  })

  it('is executed if no process has claimed it yet', async () => {
    const { runId } = await runOfAnother()
    expect(await customers.syncAll()).toMatchObject({ id: runId, state: 'succeeded' })
  })

  it('is refused while its process holds it', async () => {
    const { runId } = await runOfAnother({}, 60)
    await expect(customers.syncAll()).rejects.toMatchObject({
      code: 'sync_running',
      message: expect.stringContaining(runId),
      extra: { sync_run: runId },
    })
  })

  it.for([
    ['a dry run', { dryRun: true }],
    ['a run of single ids', { ids: ['cus_1'] }],
    ['a run since a moment', { since: new Date(0) }],
    ['a forced run', { force: true }],
  ] as const)('is not taken for another one: %s', async ([, options]) => {
    const { runId } = await runOfAnother(
      { ...options, ids: 'ids' in options ? [...options.ids] : null },
      -1,
    )
    await expect(customers.syncAll()).rejects.toMatchObject({
      code: 'sync_running',
      extra: { sync_run: runId },
    })
  })
})
