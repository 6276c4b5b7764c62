import type Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import { databaseNow } from '../../src/mirror/fetch-time.ts'
import type { Defaults } from '../../src/mirror/mirror-column.ts'
import { StripeCouponAction } from '../../src/mirror/resources/coupon-resource.ts'
import { StripeCustomerAction } from '../../src/mirror/resources/customer-resource.ts'
import type { SyncOutcome } from '../../src/mirror/sync-outcome.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let customers: StripeCustomerAction
let coupons: StripeCouponAction
beforeAll(async () => {
  shop = await scene.openWiredShop()
  customers = new StripeCustomerAction(scene.context(shop))
  coupons = new StripeCouponAction(scene.context(shop))
})

let made = 0
function customer(changes: Partial<Stripe.Customer> = {}): Stripe.Customer {
  made += 1
  // The fields of a customer that these tests use.
  const object: Partial<Stripe.Customer> = {
    id: `cus_${String(made).padStart(14, '0')}`,
    object: 'customer',
    created: 1_700_000_000 + made,
    livemode: false,
    email: `${made}@example.com`,
    name: `Customer ${made}`,
    balance: 0,
    metadata: {},
    ...changes,
  }
  return object as Stripe.Customer
}

const row = async (table: string, id: string) =>
  (await scene.stored(shop, table)).find((stored) => stored.id === id)

const now = () => databaseNow(scene.db)

const outcomes = (synced: { outcome: SyncOutcome }[]) => synced.map(({ outcome }) => outcome)

describe('sync', () => {
  it('stores the typed columns and the whole object', async () => {
    const object = customer({ email: 'a@example.com', balance: -500, phone: '+49 1' })
    expect(await customers.sync(object, await now())).toEqual({ id: object.id, outcome: 'created' })
    expect(await row('customers', object.id)).toMatchObject({
      email: 'a@example.com',
      balance: '-500',
      phone: '+49 1',
      livemode: false,
      created: new Date((object.created ?? 0) * 1000),
      deleted_at: null,
      data: object,
    })
  })

  it('returns the outcome', async () => {
    const object = customer()
    expect((await customers.sync(object, await now())).outcome).toBe('created')
    expect((await customers.sync(object, await now())).outcome).toBe('unchanged')
    expect((await customers.sync({ ...object, name: 'Renamed' }, await now())).outcome).toBe(
      'updated',
    )
    const gone = { id: object.id, object: 'customer', deleted: true } as unknown as Stripe.Customer
    expect((await customers.sync(gone, await now())).outcome).toBe('deleted')
  })

  it('keeps the latest fetch, in every order of arrival', async () => {
    const object = customer({ name: 'old' })
    const early = await databaseNow(scene.db)
    const late = await databaseNow(scene.db)
    await customers.sync({ ...object, name: 'new' }, late)
    expect((await customers.sync(object, early)).outcome).toBe('stale')
    expect(await row('customers', object.id)).toMatchObject({ name: 'new' })
  })

  it('updates the fetch time of an unchanged object, so an older version is ignored', async () => {
    const object = customer({ name: 'A' })
    const [first, second, third] = [
      await databaseNow(scene.db),
      await databaseNow(scene.db),
      await databaseNow(scene.db),
    ]
    await customers.sync(object, first)
    await customers.sync(object, third)
    expect((await customers.sync({ ...object, name: 'B' }, second)).outcome).toBe('stale')
    expect(await row('customers', object.id)).toMatchObject({ name: 'A' })
  })

  it('never modifies its argument (E5)', async () => {
    const object = Object.freeze(customer({ metadata: Object.freeze({ a: '1' }) }))
    const before = structuredClone(object)
    await customers.sync(object, await now())
    await customers.syncBatch([object, object], await now())
    expect(object).toEqual(before)
  })

  it('stores times in UTC (E17, F19)', async () => {
    const coupon = { id: 'utc', object: 'coupon', created: 1, redeem_by: 1_700_000_000 }
    await coupons.sync(coupon as Stripe.Coupon, await now())
    const [stored] = await scene.rows<{ at: string }>(
      `select to_char(redeem_by at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') as at
       from stripe.coupons where id = 'utc'`,
    )
    expect(stored?.at).toBe('2023-11-14 22:13:20')
  })

  it('stores nulls as null, and amounts in minor units (E18)', async () => {
    const coupon = { id: 'yen', amount_off: 1000, currency: 'jpy', percent_off: null }
    await coupons.sync(coupon as unknown as Stripe.Coupon, await now())
    await coupons.sync(
      { id: 'percent', percent_off: 12.5, currency: null } as Stripe.Coupon,
      await now(),
    )
    expect(await row('coupons', 'yen')).toMatchObject({ amount_off: '1000', currency: 'jpy' })
    expect(await row('coupons', 'percent')).toMatchObject({ currency: null, percent_off: '12.5' })
  })

  it('stores an object even if a field has an unknown shape', async () => {
    const object = customer({ email: { odd: true } as unknown as string })
    await customers.sync(object, await now())
    expect(await row('customers', object.id)).toMatchObject({ email: null, data: object })
  })

  it('removes characters that Postgres cannot store', async () => {
    const object = customer({ name: 'a\0b\ud800c', description: 'a literal \\u0000 stays' })
    await customers.sync(object, await now())
    expect(await row('customers', object.id)).toMatchObject({
      name: 'ab\ufffdc',
      description: 'a literal \\u0000 stays',
    })
  })

  it('skips objects of another conference with the same Stripe account', async () => {
    const object = customer({ metadata: { conference_id: 'conf_other' } })
    expect((await customers.sync(object, await now())).outcome).toBe('foreign')
    expect(await row('customers', object.id)).toBeUndefined()
  })
})

describe('a tombstone', () => {
  it('is cleared by a newer fetch that finds the object, for example a reused id (E4)', async () => {
    const coupon = { id: 'again', object: 'coupon', percent_off: 10 } as Stripe.Coupon
    await coupons.sync(coupon, await now())
    expect(await coupons.softDelete('again', await now())).toBe(true)
    expect(await row('coupons', 'again')).toMatchObject({ deleted_at: expect.any(Date) })
    expect((await coupons.sync(coupon, await now())).outcome).toBe('updated')
    expect(await row('coupons', 'again')).toMatchObject({ deleted_at: null })
  })

  it('is not cleared by an older fetch that arrives late', async () => {
    const coupon = { id: 'late', object: 'coupon' } as Stripe.Coupon
    const early = await databaseNow(scene.db)
    await coupons.sync(coupon, await now())
    await coupons.softDelete('late', await now())
    expect((await coupons.sync(coupon, early)).outcome).toBe('stale')
    expect(await row('coupons', 'late')).toMatchObject({ deleted_at: expect.any(Date) })
  })

  it('is written for an unknown object, so a late creation is ignored (E9)', async () => {
    const early = await databaseNow(scene.db)
    expect(await coupons.softDelete('never', await now())).toBe(false)
    await coupons.sync({ id: 'never', object: 'coupon' } as Stripe.Coupon, early)
    expect(await row('coupons', 'never')).toMatchObject({ deleted_at: expect.any(Date) })
  })

  it('does not replace a newer row when an older fetch did not find the object (issue 8, line 32)', async () => {
    const object = { id: 'alive', object: 'coupon' } as Stripe.Coupon
    const [early, late] = [await now(), await now()]
    await coupons.sync(object, late)
    expect(await coupons.softDelete('alive', early)).toBe(false)
    const deleted = { ...object, deleted: true } as unknown as Stripe.Coupon
    expect(await coupons.sync(deleted, early)).toEqual({ id: 'alive', outcome: 'unchanged' })
    expect(await row('coupons', 'alive')).toMatchObject({ deleted_at: null, data: object })
  })

  it('keeps the time of the first deletion when it is written again (E6)', async () => {
    await coupons.sync({ id: 'twice', object: 'coupon' } as Stripe.Coupon, await now())
    await coupons.softDelete('twice', await now())
    const first = await row('coupons', 'twice')
    await coupons.softDelete('twice', await now())
    expect((await row('coupons', 'twice'))?.deleted_at).toEqual(first?.deleted_at)
  })

  it('keeps the last values of the object', async () => {
    await coupons.sync(
      { id: 'kept', object: 'coupon', percent_off: 20 } as Stripe.Coupon,
      await now(),
    )
    await coupons.softDelete('kept', await now())
    expect(await row('coupons', 'kept')).toMatchObject({
      percent_off: '20',
      data: { percent_off: 20 },
    })
  })
})

describe('syncBatch', () => {
  it('does the same as sync for each object, also for duplicate ids', async () => {
    const one = customer({ name: 'first' })
    const two = customer()
    const batch = await customers.syncBatch(
      [one, two, { ...one, name: 'second' }, one],
      await now(),
    )
    expect(outcomes(batch)).toEqual(['created', 'created', 'stale', 'stale'])
    expect(await row('customers', one.id)).toMatchObject({ name: 'first' })
  })

  it('writes objects with different members correctly (E7)', async () => {
    const full = customer({ phone: '1', description: 'd' })
    const bare = { id: 'cus_bare', object: 'customer' } as Stripe.Customer
    await customers.syncBatch([full, bare], await now())
    await customers.syncBatch([bare, { ...full, phone: '2' }], await now())
    expect(await row('customers', full.id)).toMatchObject({ phone: '2', description: 'd' })
    expect(await row('customers', 'cus_bare')).toMatchObject({ phone: null, description: null })
  })

  it('stores a thousand objects', async () => {
    const many = Array.from({ length: 1000 }, () => customer())
    expect(new Set(outcomes(await customers.syncBatch(many, await now())))).toEqual(
      new Set(['created']),
    )
    expect(new Set(outcomes(await customers.syncBatch(many, await now())))).toEqual(
      new Set(['unchanged']),
    )
  })

  it('does not deadlock with another writer of the same rows in the opposite order', async () => {
    const many = Array.from({ length: 200 }, () => customer())
    const reversed = many.toReversed().map((object) => ({ ...object, name: 'reversed' }))
    await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        customers.syncBatch(i % 2 === 0 ? many : reversed, 1 + i),
      ),
    )
    const stored = await scene.stored(shop, 'customers')
    expect(many.every(({ id }) => stored.some((found) => found.id === id))).toBe(true)
  })
})

describe('hooks', () => {
  class Tidy extends StripeCustomerAction {
    readonly seen: string[] = []
    protected override preSetDefault(object: Stripe.Customer) {
      this.seen.push(`pre ${object.id}`)
      object.name = object.name?.toUpperCase() ?? null
    }
    protected override postSetDefault(defaults: Defaults) {
      this.seen.push(`post ${String(defaults['name'])}`)
      defaults['description'] = 'by hook'
    }
  }

  it('change the columns, but not the stored object or the argument', async () => {
    const action = new Tidy(scene.context(shop))
    const object = Object.freeze(customer({ name: 'ada' }))
    await action.sync(object, await now())
    expect(action.seen).toEqual([`pre ${object.id}`, 'post ADA'])
    expect(await row('customers', object.id)).toMatchObject({
      name: 'ADA',
      description: 'by hook',
      data: { name: 'ada' },
    })
  })

  it('run for every object of a batch', async () => {
    const action = new Tidy(scene.context(shop))
    await action.syncBatch([customer({ name: 'x' }), customer({ name: 'y' })], await now())
    expect(action.seen.filter((line) => line.startsWith('post'))).toEqual(['post X', 'post Y'])
  })

  it('pass every object of a batch to a subclass that overrides sync', async () => {
    const seen: string[] = []
    class Watching extends StripeCustomerAction {
      override async sync(object: Stripe.Customer, readAt: number) {
        seen.push(object.id)
        return super.sync(object, readAt)
      }
    }
    const [one, two] = [customer(), customer()]
    await new Watching(scene.context(shop)).syncBatch([one, two], await now())
    expect(seen).toEqual([one.id, two.id])
    expect(await row('customers', two.id)).toBeDefined()
  })
})

describe('syncByIds', () => {
  it('returns the outcome for each id, and continues after a missing one (E11)', async () => {
    const stripe = scene.stripeOf(shop)
    const alive = await stripe.customers.create({ email: 'alive@example.com' })
    const deleted = await stripe.customers.create({})
    await customers.sync(deleted, await now())
    await stripe.customers.del(deleted.id)
    const ids = ['cus_missing', deleted.id, 'pi_1', alive.id]
    expect(await customers.syncByIds(ids)).toEqual([
      { id: 'cus_missing', result: 'gone' },
      { id: deleted.id, result: 'gone' },
      { id: 'pi_1', result: 'failed', error: expect.objectContaining({ code: 'foreign_id' }) },
      { id: alive.id, result: 'synced', outcome: 'created' },
    ])
    expect(await row('customers', deleted.id)).toMatchObject({ deleted_at: expect.any(Date) })
    expect(await row('customers', alive.id)).toMatchObject({ email: 'alive@example.com' })
  })

  it('keeps the last values of a deleted customer (E10)', async () => {
    const stripe = scene.stripeOf(shop)
    const { id } = await stripe.customers.create({ email: 'was@example.com' })
    await customers.syncByIds([id])
    await stripe.customers.del(id)
    await customers.syncByIds([id])
    expect(await row('customers', id)).toMatchObject({
      email: 'was@example.com',
      deleted_at: expect.any(Date),
    })
  })
})

describe('another conference', () => {
  it('has its own mirror, also for the same id', async () => {
    const other = await scene.openWiredShop()
    const object = customer({ name: 'mine' })
    await customers.sync(object, await now())
    await new StripeCustomerAction(scene.context(other)).sync(
      { ...object, name: 'theirs' },
      await now(),
    )
    expect(await row('customers', object.id)).toMatchObject({ name: 'mine' })
    expect(await scene.stored(other, 'customers')).toMatchObject([{ name: 'theirs' }])
  })
})
