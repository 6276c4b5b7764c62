import type { Knex } from 'knex'
import type Stripe from 'stripe'
import { beforeEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { resource, StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import { executeSyncRun } from '../../../src/mirror/runs/execute-sync-run.ts'
import { NO_OPTIONS, type SyncRun } from '../../../src/mirror/runs/sync-run.ts'
import { insertSyncRun } from '../../../src/mirror/runs/sync-run-store.ts'
import type { StripeResource } from '../../../src/mirror/stripe-resource.ts'
import { StripeSyncAction } from '../../../src/mirror/stripe-sync-action.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene({ STRIPE_REQUESTS_PER_SECOND: '0' })
let shop: WiredShop
beforeEach(async () => {
  shop = await scene.openWiredShop()
})

const PAGE_SIZE = 100

const customer = (number: number, more: Partial<Stripe.Customer> = {}) =>
  ({
    id: `cus_${String(number).padStart(5, '0')}`,
    object: 'customer',
    created: 1_700_000_000,
    ...more,
  }) as Stripe.Customer // the members that matter here

const customers = (count: number) => Array.from({ length: count }, (_, index) => customer(index))

/** Lists these customers faster than Postgres can store them, once for each of so many lists. */
function listing(
  listed: readonly Stripe.Customer[],
  lists = 1,
): StripeResource<Stripe.Customer>['listing'] {
  return {
    by: 'pages',
    windows: false,
    variants: Array.from({ length: lists }, () => ({})),
    async page(_stripe, { starting_after: last }) {
      const start = listed.findIndex(({ id }) => id === last) + 1
      const end = start + PAGE_SIZE
      return { data: listed.slice(start, end), has_more: end < listed.length }
    },
  }
}

const action = (listed: readonly Stripe.Customer[], lists?: number) =>
  new StripeSyncAction(scene.context(shop), { ...resource, listing: listing(listed, lists) })

describe('pages that arrive while others are being stored', () => {
  it('are stored together, up to 500 objects at once', async () => {
    const seen: number[] = []
    const onProgress = ({ counts }: SyncRun) => seen.push(counts.fetched)
    const run = await action(customers(800)).syncAll({ onProgress })
    expect(run).toMatchObject({ state: 'succeeded', counts: { fetched: 800, created: 800 } })
    expect(seen.slice(0, 3)).toEqual([100, 600, 800])
    expect(await scene.stored(shop, 'customers')).toHaveLength(800)
  })

  it('are stored one after the other if they contain the same object', async () => {
    const run = await action(customers(250), 2).syncAll()
    expect(run).toMatchObject({
      state: 'succeeded',
      counts: { fetched: 500, created: 250, unchanged: 250 },
    })
  })

  it('are stored without the object that Postgres rejects', async () => {
    // Postgres knows no such year.
    const odd = customer(333, { created: 8_640_000_000_000 })
    const listed = customers(600).map((each) => (each.id === odd.id ? odd : each))
    const run = await action(listed).syncAll()
    expect(run).toMatchObject({
      state: 'failed',
      counts: { fetched: 600, created: 599, failed: 1 },
      details: [{ id: odd.id, outcome: 'failed' }],
    })
    expect(await scene.stored(shop, 'customers')).toHaveLength(599)
  })
})

describe('the objects that a listing did not contain', () => {
  async function listedIds(listed: readonly Stripe.Customer[]): Promise<string[]> {
    const tenant = { conferenceId: shop.conference }
    const { id } = await withTenant(scene.db, tenant, (trx) =>
      insertSyncRun(trx, {
        ...tenant,
        resource: 'customers',
        startedBy: 'code',
        options: NO_OPTIONS,
      }),
    )
    const stopping = new AbortController()
    const options = {
      leaseSeconds: 60,
      signal: stopping.signal,
      whenAborted: 'release',
      isRetried: true,
      onProgress: () => stopping.abort(),
    } as const
    const ref = { ...tenant, runId: id }
    const stopped = action(listed)
    expect(await executeSyncRun({ action: stopped, ref, options })).toBe('released')
    const rows = await scene.rows<{ ids: string[] }>(
      'select ids from sync_run_ids where run_id = $1',
      [id],
    )
    return rows.flatMap(({ ids }) => ids)
  }

  it('are not searched among those that the run wrote, so it remembers only the others', async () => {
    const [unchanged, changed, ...more] = customers(250)
    await action([unchanged, changed].flatMap((each) => each ?? [])).syncAll()
    const listed = await listedIds([customer(0), customer(1, { name: 'Changed' }), ...more])
    expect(listed).toEqual([unchanged?.id])
  })

  it('are found without comparing each row with each listed id', async () => {
    scene.fake.control.seedCustomers(shop.stripeKey, 300)
    const context = scene.context(shop)
    await new StripeCustomerAction(context).syncAll()
    const sent = new Map<string, Knex.Sql[]>()
    const note = (query: Knex.Sql & { __knexTxId?: string }) => {
      const { __knexTxId: id = '' } = query
      sent.set(id, [...(sent.get(id) ?? []), query])
    }
    scene.db.on('query', note)
    const run = await new StripeCustomerAction(context).syncAll()
    scene.db.off('query', note)
    expect(run.counts).toMatchObject({ unchanged: 300 })
    const searches = [...sent.values()]
      .map((queries) => queries.map(({ sql }) => sql))
      .filter((queries) => queries.some((sql) => sql.includes('unnest(ids)')))
    expect(searches).toHaveLength(1)
    for (const queries of searches) {
      const search = queries.findIndex((sql) => sql.includes('unnest(ids)'))
      const plan = await withTenant(scene.db, { conferenceId: shop.conference }, async (trx) => {
        // What the search sets before it.
        for (const sql of queries.slice(0, search)) await trx.raw(sql)
        return trx.raw(`explain (generic_plan) ${queries[search]}`)
      })
      expect(JSON.stringify(plan.rows)).not.toContain('Nested Loop')
    }
  })
})
