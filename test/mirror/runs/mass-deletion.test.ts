import type Stripe from 'stripe'
import { beforeEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { databaseNow } from '../../../src/mirror/fetch-time.ts'
import { StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import { StripePriceAction } from '../../../src/mirror/resources/price-resource.ts'
import { executeSyncRun } from '../../../src/mirror/runs/execute-sync-run.ts'
import { NO_OPTIONS } from '../../../src/mirror/runs/sync-run.ts'
import { getSyncRun, insertSyncRun } from '../../../src/mirror/runs/sync-run-store.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene({ STRIPE_REQUESTS_PER_SECOND: '0' })
let shop: WiredShop
let customers: StripeCustomerAction
beforeEach(async () => {
  shop = await scene.openWiredShop()
  customers = new StripeCustomerAction(scene.context(shop))
})

const live = async (table: string) =>
  (await scene.stored(shop, table)).filter(({ deleted_at }) => deleted_at === null)

/** Rows of objects that Stripe does not have, as a key of another account would show them. */
const invent = (count: number, prefix: string, more: object = {}) =>
  Array.from({ length: count }, (_, i) => ({
    id: `${prefix}_${String(i).padStart(6, '0')}`,
    ...more,
  }))

async function deleteAtStripe(ids: readonly string[]): Promise<void> {
  for (const id of ids) await scene.stripeOf(shop).customers.del(id)
}

const fetchedById = () =>
  scene.fake.control
    .requests({ method: 'GET' })
    .filter(({ path }) => path.startsWith('/v1/customers/cus_'))

const refused = {
  state: 'failed',
  counts: { deleted: 0 },
  error: { code: 'mass_deletion_refused' },
} as const

describe('the guard against mass deletion', () => {
  it('compares with the rows that a listing can contain (issue 8, line 21)', async () => {
    const prices = new StripePriceAction(scene.context(shop))
    const of = (objects: object[]) => objects as Stripe.Price[]
    await prices.syncBatch(
      of(invent(1_000, 'inline', { active: false })),
      await databaseNow(scene.db),
    )
    await prices.syncBatch(of(invent(50, 'listed', { active: true })), await databaseNow(scene.db))
    expect(await prices.syncAll()).toMatchObject(refused)
    expect(await live('prices')).toHaveLength(1_050)
    expect(await prices.syncAll({ force: true })).toMatchObject({ counts: { deleted: 50 } })
  })

  it('stops a run with the key of another account after the first hundred fetches (issue 8, line 21)', async () => {
    const objects = invent(3_000, 'cus') as Stripe.Customer[]
    await customers.syncBatch(objects, await databaseNow(scene.db))
    expect(await customers.syncAll()).toMatchObject(refused)
    expect(fetchedById().length).toBeLessThanOrEqual(100)
    expect(await live('customers')).toHaveLength(3_000)
  })

  it('covers runs of single ids, unless they are forced (issue 8, line 21)', async () => {
    const ids = scene.fake.control.seedCustomers(shop.stripeKey, 60)
    await customers.syncAll()
    await deleteAtStripe(ids.slice(0, 15))
    expect(await customers.syncAll({ ids })).toMatchObject(refused)
    expect(await live('customers')).toHaveLength(60)
    const dry = await customers.syncAll({ ids, dryRun: true })
    expect(dry).toMatchObject({ state: 'failed', error: { code: 'mass_deletion_refused' } })
    expect(dry.details).toHaveLength(15)
    const few = await customers.syncAll({ ids: ids.slice(0, 10) })
    expect(few).toMatchObject({ state: 'succeeded', counts: { deleted: 10 } })
    const forced = await customers.syncAll({ ids, force: true })
    expect(forced).toMatchObject({ state: 'succeeded', counts: { deleted: 5, fetched: 45 } })
    expect(await live('customers')).toHaveLength(45)
  })

  it('also counts what a run of single ids found before its process died (issue 8, line 21)', async () => {
    const ids = scene.fake.control.seedCustomers(shop.stripeKey, 120)
    await customers.syncAll()
    await deleteAtStripe([...ids.slice(0, 8), ...ids.slice(110)])
    const ref = await withTenant(scene.db, { conferenceId: shop.conference }, async (trx) => {
      const run = {
        conferenceId: shop.conference,
        resource: 'customers',
        startedBy: 'code',
        options: { ...NO_OPTIONS, ids },
      } as const
      return { conferenceId: shop.conference, runId: (await insertSyncRun(trx, run)).id }
    })
    const stopping = new AbortController()
    const options = {
      leaseSeconds: 60,
      signal: stopping.signal,
      whenAborted: 'release',
      isRetried: true,
      onProgress: () => stopping.abort(),
    } as const
    expect(await executeSyncRun({ action: customers, ref, options })).toBe('released')
    expect(await live('customers')).toHaveLength(120)
    const { onProgress: _, ...rest } = { ...options, signal: new AbortController().signal }
    expect(await executeSyncRun({ action: customers, ref, options: rest })).toBe('ended')
    const run = await withTenant(scene.db, ref, (trx) => getSyncRun(trx, ref))
    expect(run).toMatchObject({ state: 'succeeded', counts: { fetched: 102, deleted: 18 } })
    expect(await live('customers')).toHaveLength(102)
  })
})

describe('a sync of an id that neither Stripe nor the mirror has', () => {
  it('writes no tombstone and counts no deletion (issue 8, line 27)', async () => {
    const run = await customers.syncAll({ ids: ['cus_never'] })
    expect(run).toMatchObject({ state: 'succeeded', counts: { deleted: 0, fetched: 0 } })
    expect(await scene.stored(shop, 'customers')).toEqual([])
  })
})
