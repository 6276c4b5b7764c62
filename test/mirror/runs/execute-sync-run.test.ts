import { beforeEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import { executeSyncRun } from '../../../src/mirror/runs/execute-sync-run.ts'
import { NO_OPTIONS, type SyncRunRef } from '../../../src/mirror/runs/sync-run.ts'
import { workOnSyncRun } from '../../../src/mirror/runs/sync-run-job.ts'
import {
  cancelSyncRun,
  getSyncRun,
  insertSyncRun,
} from '../../../src/mirror/runs/sync-run-store.ts'
import { keyProblemOf } from '../../../src/stripe/wait-for-key.ts'
import { createConference } from '../../support/fixtures.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let ref: SyncRunRef
beforeEach(async () => {
  shop = await scene.openWiredShop()
  ref = await newRun(shop.conference)
})

function newRun(conferenceId: string): Promise<SyncRunRef> {
  return withTenant(scene.db, { conferenceId }, async (trx) => {
    const run = {
      conferenceId,
      resource: 'customers',
      startedBy: 'code',
      options: NO_OPTIONS,
    } as const
    return { conferenceId, runId: (await insertSyncRun(trx, run)).id }
  })
}

const OPTIONS = {
  leaseSeconds: 60,
  signal: new AbortController().signal,
  whenAborted: 'release',
  isRetried: true,
} as const

const execute = (action: StripeCustomerAction, run: SyncRunRef = ref) =>
  executeSyncRun({ action, ref: run, options: OPTIONS })

const runNow = (run: SyncRunRef = ref) => withTenant(scene.db, run, (trx) => getSyncRun(trx, run))

/** Holds every page until it is released, like a suspended process. */
class SleepingAction extends StripeCustomerAction {
  wakeUp = () => {}
  readonly #awake = new Promise<void>((resolve) => (this.wakeUp = resolve))
  isAsleep = false

  protected override async postSetDefault(): Promise<void> {
    this.isAsleep = true
    await this.#awake
  }
}

async function sleeper() {
  const action = new SleepingAction(scene.context(shop))
  const executed = execute(action)
  await expect.poll(() => action.isAsleep).toBe(true)
  return { action, executed }
}

describe('a process that has lost its run', () => {
  it('to another process after the lease expired writes nothing more', async () => {
    const ids = scene.fake.control.seedCustomers(shop.stripeKey, 250)
    const { action, executed } = await sleeper()
    expect(await execute(new StripeCustomerAction(scene.context(shop)))).toBe('held')
    await scene.rows(`update sync_runs set lease_until = now() where id = $1`, [ref.runId])
    expect(await execute(new StripeCustomerAction(scene.context(shop)))).toBe('ended')
    expect(await scene.stored(shop, 'customers')).toHaveLength(ids.length)
    const ended = await runNow()
    expect(ended).toMatchObject({ state: 'succeeded', counts: { fetched: 250, created: 250 } })
    // Any later write would change these.
    await scene.rows('delete from stripe.customers where conference_id = $1', [shop.conference])
    action.wakeUp()
    expect(await executed).toBe('held')
    expect(await scene.stored(shop, 'customers')).toEqual([])
    expect(await runNow()).toEqual(ended)
  })

  it('to another active process changes neither counts nor cursor', async () => {
    scene.fake.control.seedCustomers(shop.stripeKey, 250)
    const first = await sleeper()
    await scene.rows(`update sync_runs set lease_until = now() where id = $1`, [ref.runId])
    const second = await sleeper()
    first.action.wakeUp()
    expect(await first.executed).toBe('held')
    expect(await runNow()).toMatchObject({ state: 'running', counts: { fetched: 0 } })
    expect(await scene.stored(shop, 'customers')).toEqual([])
    second.action.wakeUp()
    expect(await second.executed).toBe('ended')
    expect(await runNow()).toMatchObject({ state: 'succeeded', counts: { fetched: 250 } })
  })

  it('by cancellation stores no further page', async () => {
    scene.fake.control.seedCustomers(shop.stripeKey, 250)
    const { action, executed } = await sleeper()
    await withTenant(scene.db, ref, (trx) => cancelSyncRun(trx, ref))
    action.wakeUp()
    expect(await executed).toBe('held')
    expect(await scene.stored(shop, 'customers')).toEqual([])
    expect(await runNow()).toMatchObject({ state: 'cancelled', counts: { fetched: 0 } })
  })
})

describe('a run whose Stripe key is rejected', () => {
  it.each([
    ['listing', null],
    ['single ids', ['ONE', 'TWO']],
  ])('by %s waits for another key also on its last attempt', async (_, ids) => {
    const { body } = await scene.request<{ id: string }>(
      'POST',
      `${shop.path}/stripe/coupons/sync`,
      { body: ids === null ? {} : { ids } },
    )
    const run = { conferenceId: shop.conference, runId: body.id }
    const coupon = { percent_off: 10, duration: 'once' } as const
    for (const id of ['ONE', 'TWO']) await scene.stripeOf(shop).coupons.create({ id, ...coupon })
    const freshKey = scene.fake.control.createKey(shop.stripeKey)
    scene.fake.control.revokeKey(shop.stripeKey)
    const last = { signal: new AbortController().signal, isLastTry: true }
    const work = () => workOnSyncRun({ ...scene.deps, leaseSeconds: 60 }, run, last)
    await expect(work()).rejects.toSatisfy((error) => keyProblemOf(error) === 'rejected')
    expect(await runNow(run)).toMatchObject({ state: 'queued', counts: { failed: 0 } })
    const key = { stripe_secret_key: freshKey }
    expect((await scene.request('PATCH', shop.path, { body: key })).status).toBe(200)
    await work()
    expect(await runNow(run)).toMatchObject({ state: 'succeeded', counts: { created: 2 } })
  })
})

describe('a conference without a Stripe key', () => {
  it('ends its run as failed instead of holding it forever', async () => {
    const { id } = await createConference(scene, { stripe_secret_key: undefined })
    const run = await newRun(id)
    const action = new StripeCustomerAction(scene.context({ conference: id }))
    expect(await execute(action, run)).toBe('ended')
    expect(await runNow(run)).toMatchObject({
      state: 'failed',
      error: { code: 'stripe_key_missing' },
    })
  })
})
