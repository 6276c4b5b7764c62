import type Stripe from 'stripe'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { databaseNow } from '../../../src/mirror/fetch-time.ts'
import { StripeCouponAction } from '../../../src/mirror/resources/coupon-resource.ts'
import { StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import type { SyncRun } from '../../../src/mirror/runs/sync-run.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene({ STRIPE_REQUESTS_PER_SECOND: '0' })
let shop: WiredShop
let customers: StripeCustomerAction
let coupons: StripeCouponAction
beforeEach(async () => {
  shop = await scene.openWiredShop()
  customers = new StripeCustomerAction(scene.context(shop))
  coupons = new StripeCouponAction(scene.context(shop))
})

afterEach(() => scene.fake.control.clearFaults())

const live = async (table: string) =>
  (await scene.stored(shop, table)).filter(({ deleted_at }) => deleted_at === null)

const seed = (count: number) => scene.fake.control.seedCustomers(shop.stripeKey, count)

/** What wrote or locked each row: both cost writes. */
const versions = () =>
  scene.rows<{ id: string; xmin: string; xmax: string }>(
    `select id, xmin::text, xmax::text from stripe.customers where conference_id = $1 order by id`,
    [shop.conference],
  )

const listsOfCustomers = () => scene.fake.control.requests({ method: 'GET', path: '/v1/customers' })

describe('a full sync', () => {
  it.for([0, 1, 99, 100, 101, 350])('stores exactly %i objects', async (count) => {
    const ids = seed(count)
    const run = await customers.syncAll()
    expect(run).toMatchObject({
      state: 'succeeded',
      counts: { fetched: count, created: count, updated: 0, unchanged: 0, deleted: 0, failed: 0 },
      error: null,
    })
    const stored = await live('customers')
    expect(stored.map(({ id }) => id)).toEqual(ids.toSorted())
  })

  it('neither rewrites nor locks a row when nothing changed', async () => {
    seed(150)
    await customers.syncAll()
    const before = await versions()
    const run = await customers.syncAll()
    expect(run.counts).toMatchObject({ fetched: 150, created: 0, updated: 0, unchanged: 150 })
    expect(await versions()).toEqual(before)
  })

  it('rewrites only what changed', async () => {
    const [id = ''] = seed(120)
    await customers.syncAll()
    await scene.stripeOf(shop).customers.update(id, { name: 'Changed' })
    expect((await customers.syncAll()).counts).toMatchObject({ updated: 1, unchanged: 119 })
    const changed = (await live('customers')).find((row) => row.id === id)
    expect(changed).toMatchObject({ name: 'Changed' })
  })

  it('reports its progress from the first page to the last', async () => {
    seed(250)
    const seen: number[] = []
    await customers.syncAll({ onProgress: (run: SyncRun) => seen.push(run.counts.fetched) })
    expect(seen[0]).toBe(100)
    expect(seen.at(-1)).toBe(250)
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
  })

  it('reads windows of a large account in parallel, and every object once or twice', async () => {
    const ids = seed(3_000)
    scene.fake.control.clearRequests()
    scene.fake.control.injectFault({
      path: '/v1/customers',
      times: 'always',
      action: { kind: 'slow', ms: 40 },
    })
    const run = await customers.syncAll()
    expect(run.state).toBe('succeeded')
    expect(await live('customers')).toHaveLength(ids.length)
    const lists = listsOfCustomers()
    expect(lists.some(({ params }) => 'created' in params)).toBe(true)
    // 30 pages, plus the cost of splitting.
    expect(lists.length).toBeLessThan(60)
  })
})

describe('an object that was deleted at Stripe', () => {
  it('becomes a tombstone after a complete listing and a fetch by id', async () => {
    const [gone = ''] = seed(30)
    await customers.syncAll()
    await scene.stripeOf(shop).customers.del(gone)
    const run = await customers.syncAll()
    expect(run).toMatchObject({
      state: 'succeeded',
      counts: { deleted: 1 },
      details: [{ id: gone, outcome: 'deleted' }],
    })
    expect(await live('customers')).toHaveLength(29)
    expect((await customers.syncAll()).counts).toMatchObject({ deleted: 0, unchanged: 29 })
  })

  it('is kept if more than 20 % and more than ten are missing, unless the run is forced (E6)', async () => {
    const ids = seed(50)
    await customers.syncAll()
    const stripe = scene.stripeOf(shop)
    for (const id of ids.slice(0, 12)) await stripe.customers.del(id)
    const refused = await customers.syncAll()
    expect(refused).toMatchObject({
      state: 'failed',
      counts: { deleted: 0 },
      error: { code: 'mass_deletion_refused' },
    })
    expect(await live('customers')).toHaveLength(50)
    expect(await customers.syncAll({ force: true })).toMatchObject({
      state: 'succeeded',
      counts: { deleted: 12 },
    })
    expect(await live('customers')).toHaveLength(38)
  })

  it('is not a tombstone if only the list omits it', async () => {
    const stripe = scene.stripeOf(shop)
    const { id } = await stripe.coupons.create({ percent_off: 10, duration: 'once' })
    // As if the listing had missed it: stored before, and in no list.
    await coupons.sync(
      (await stripe.coupons.retrieve(id)) as Stripe.Coupon,
      await databaseNow(scene.db),
    )
    const run = await coupons.syncAll({ since: new Date(Date.now() + 3_600_000) })
    expect(run.counts).toMatchObject({ fetched: 0, deleted: 0 })
    expect(await live('coupons')).toHaveLength(1)
  })

  it('is not one that was created during the listing (E6)', async () => {
    seed(150)
    let made = false
    const run = await customers.syncAll({
      onProgress: () => {
        if (made) return
        made = true
        void scene.stripeOf(shop).customers.create({ name: 'New' })
      },
    })
    expect(run.counts.deleted).toBe(0)
  })

  it('is restored when its id is reused (E4)', async () => {
    const stripe = scene.stripeOf(shop)
    const make = () => stripe.coupons.create({ id: 'TWICE', percent_off: 10, duration: 'once' })
    await make()
    await coupons.syncAll()
    await stripe.coupons.del('TWICE')
    await coupons.syncAll()
    expect(await live('coupons')).toHaveLength(0)
    await make()
    await coupons.syncAll()
    expect(await live('coupons')).toMatchObject([{ id: 'TWICE' }])
  })
})

describe('a dry run', () => {
  it('reports changes and deletions, and changes nothing', async () => {
    const [gone = '', changed = ''] = seed(20)
    await customers.syncAll()
    const before = await versions()
    const stripe = scene.stripeOf(shop)
    await stripe.customers.del(gone)
    await stripe.customers.update(changed, { name: 'Changed' })
    const { id: added } = await stripe.customers.create({})
    const run = await customers.syncAll({ dryRun: true })
    expect(run).toMatchObject({
      state: 'succeeded',
      counts: { fetched: 20, created: 1, updated: 1, unchanged: 18, deleted: 1 },
    })
    expect(run.details.map(({ id, outcome }) => `${outcome} ${id}`).toSorted()).toEqual(
      [`created ${added}`, `deleted ${gone}`, `updated ${changed}`].toSorted(),
    )
    expect(await versions()).toEqual(before)
  })

  it('reports every change if nothing was deleted', async () => {
    const ids = seed(120)
    const run = await customers.syncAll({ dryRun: true })
    expect(run.details.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
    expect(new Set(run.details.map(({ outcome }) => outcome))).toEqual(new Set(['created']))
  })

  it('reports at most a thousand changes, and counts all', async () => {
    seed(1_150)
    const run = await customers.syncAll({ dryRun: true })
    expect(run.counts.created).toBeGreaterThanOrEqual(1_150)
    expect(run.details).toHaveLength(1_000)
  })

  it('reports all deletions before it refuses a mass deletion', async () => {
    const ids = seed(50)
    await customers.syncAll()
    const stripe = scene.stripeOf(shop)
    for (const id of ids.slice(0, 12)) await stripe.customers.del(id)
    const run = await customers.syncAll({ dryRun: true })
    expect(run).toMatchObject({ state: 'failed', error: { code: 'mass_deletion_refused' } })
    expect(run.details.map(({ id }) => id).toSorted()).toEqual(ids.slice(0, 12).toSorted())
    expect(await live('customers')).toHaveLength(50)
  })

  it('does the same for single ids', async () => {
    const [known = ''] = seed(1)
    const run = await customers.syncAll({ dryRun: true, ids: [known, 'cus_missing', 'pi_foreign'] })
    expect(run.counts).toMatchObject({ fetched: 1, created: 1, unchanged: 1, failed: 1 })
    expect(await scene.stored(shop, 'customers')).toEqual([])
  })
})

describe('a sync of single ids', () => {
  it('fetches only those and deletes nothing else', async () => {
    const [one = '', two = ''] = seed(10)
    const run = await customers.syncAll({ ids: [one, two, 'cus_missing', 'pi_foreign'] })
    expect(run).toMatchObject({
      state: 'failed',
      counts: { fetched: 2, created: 2, unchanged: 1, failed: 1, deleted: 0 },
      error: { code: 'objects_failed' },
    })
    expect(await live('customers')).toHaveLength(2)
  })
})

describe('a sync since a time', () => {
  it('fetches objects created since then', async () => {
    seed(10)
    scene.fake.control.clock.advance(100)
    const since = scene.fake.control.clock.now()
    const { id } = await scene.stripeOf(shop).customers.create({})
    const run = await customers.syncAll({ since })
    expect(run.counts).toMatchObject({ fetched: 1, created: 1, deleted: 0 })
    expect(await live('customers')).toMatchObject([{ id }])
  })
})

describe('an error', () => {
  it('of the key ends the run as failed, with Stripe’s message and request id', async () => {
    scene.fake.control.revokeKey(shop.stripeKey)
    const run = await customers.syncAll()
    expect(run).toMatchObject({
      state: 'failed',
      error: {
        code: 'stripe_key_rejected',
        message: expect.stringMatching(/API Key/i),
        stripe_request_id: expect.stringMatching(/^req_/),
      },
    })
  })

  it('of a page loses nothing: the page is requested again', async () => {
    const ids = seed(250)
    scene.fake.control.injectFault({
      path: '/v1/customers',
      skip: 1,
      times: 4,
      action: { kind: 'cut' },
    })
    const run = await customers.syncAll()
    expect(run.state).toBe('succeeded')
    expect(await live('customers')).toHaveLength(ids.length)
  })

  it('of one object affects only that object, and is reported', async () => {
    const ids = seed(5)
    class Picky extends StripeCustomerAction {
      protected override postSetDefault(): void {
        this.count += 1
        if (this.count === 2) throw new Error('not this one')
      }
      private count = 0
    }
    const run = await new Picky(scene.context(shop)).syncAll()
    expect(run).toMatchObject({
      state: 'failed',
      counts: { fetched: 5, created: 4, failed: 1 },
      details: [{ outcome: 'failed', message: 'not this one' }],
      error: { code: 'objects_failed' },
    })
    expect(await live('customers')).toHaveLength(ids.length - 1)
  })

  it('of the caller, an abort, ends the run early and cleanly', async () => {
    seed(500)
    const stop = new AbortController()
    const run = await customers.syncAll({
      signal: stop.signal,
      onProgress: () => stop.abort(),
    })
    expect(run.state).toBe('cancelled')
    expect(await live('customers')).toHaveLength(100)
  })

  it('`sync_running` refuses a second run of the resource', async () => {
    seed(300)
    let open = () => {}
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    const context = scene.context(shop)
    const blocked = { ...context, connect: () => opened.then(() => context.connect()) }
    const first = new StripeCustomerAction(blocked).syncAll()
    const runs = () =>
      scene.rows(`select 1 from sync_runs where conference_id = $1 and state = 'running'`, [
        shop.conference,
      ])
    await expect.poll(runs, POLL_OPTIONS).toHaveLength(1)
    await expect(customers.syncAll()).rejects.toMatchObject({ code: 'sync_running' })
    open()
    expect((await first).state).toBe('succeeded')
    expect((await customers.syncAll()).state).toBe('succeeded')
  })
})

describe('a subclass', () => {
  it('that overrides sync receives every object of a full sync', async () => {
    const ids = seed(120)
    const seen: string[] = []
    class Watching extends StripeCustomerAction {
      override async sync(object: Stripe.Customer, readAt: number) {
        seen.push(object.id)
        return super.sync(object, readAt)
      }
    }
    const run = await new Watching(scene.context(shop)).syncAll()
    expect(seen.toSorted()).toEqual(ids.toSorted())
    expect(run.counts).toMatchObject({ fetched: 120, created: 120 })
  })
})
