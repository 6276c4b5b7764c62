import { readdir } from 'node:fs/promises'
import type Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import {
  ALL_RESOURCES,
  findResource,
  resourceOfObject,
} from '../../src/mirror/resource-registry.ts'
import { isForeignId, type StripeResource, tableOf } from '../../src/mirror/stripe-resource.ts'
import { StripeSyncAction } from '../../src/mirror/stripe-sync-action.ts'
import { readColumns, toMirrorRow } from '../../src/mirror/write-mirror-rows.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import { useTestApp } from '../support/test-app.ts'

const each = ALL_RESOURCES.map((resource) => [resource.name, resource] as const)

const isUnique = (values: readonly string[]) => new Set(values).size === values.length

/** The columns that every table has in addition to the typed columns. */
const COMMON = {
  conference_id: 'text',
  id: 'text',
  created: 'timestamp with time zone',
  livemode: 'boolean',
  metadata: 'jsonb',
  data: 'jsonb',
  as_of: 'timestamp with time zone',
  deleted_at: 'timestamp with time zone',
}

const POSTGRES_NAMES = { timestamptz: 'timestamp with time zone' }

/** Objects whose fields all have unexpected values. */
function oddObjects(resource: StripeResource): StripeObject[] {
  // A proxy has every field.
  const read = new Set<string>()
  const listening = new Proxy({ id: 'x' } as StripeObject, {
    get: (target, name) => (read.add(String(name)), Reflect.get(target, name)),
  })
  readColumns(resource, listening)
  resource.references?.(listening)
  const values = [null, undefined, 0, 7.5, '', 'text', true, [], [null], {}, { data: 1 }]
  const more = [{ data: [null] }, { data: [{}] }, { id: 1 }, { type: 'x' }, [{ id: 1 }]]
  return [...values, ...more].map((value) => ({
    ...Object.fromEntries([...read].map((name) => [name, value])),
    id: 'x',
  }))
}

describe('the resources', () => {
  it('are those of the API', () => {
    const promised = [
      'balance-transactions',
      'charges',
      'checkout-sessions',
      'coupons',
      'customers',
      'disputes',
      'invoices',
      'payment-intents',
      'payment-methods',
      'payouts',
      'plans',
      'prices',
      'products',
      'promotion-codes',
      'refunds',
      'setup-intents',
      'subscriptions',
    ]
    expect(ALL_RESOURCES.map(({ name }) => name)).toEqual(expect.arrayContaining(promised))
  })

  it('are one file each, named after the Stripe object', async () => {
    const files = await readdir(new URL('../../src/mirror/resources/', import.meta.url))
    const named = ALL_RESOURCES.map(({ objects: [object = ''] }) => {
      return `${object.replaceAll(/[._]/g, '-')}-resource.ts`
    })
    expect(files.toSorted()).toEqual(named.toSorted())
  })

  it('have distinct names, tables, views and kinds of objects', () => {
    expect(isUnique(ALL_RESOURCES.map(({ name }) => name))).toBe(true)
    expect(isUnique(ALL_RESOURCES.flatMap(({ objects }) => [...objects]))).toBe(true)
    const views = ALL_RESOURCES.flatMap(({ views = {} }) => Object.keys(views))
    expect(
      isUnique([...views.map((view) => `stripe.${view}`), ...ALL_RESOURCES.map(tableOf)]),
    ).toBe(true)
  })

  it.each(each)('are found by name and by kind of object: %s', (name, resource) => {
    expect(findResource(name)).toBe(resource)
    expect(resource.objects.length).toBeGreaterThan(0)
    for (const object of resource.objects) expect(resourceOfObject(object)).toBe(resource)
    expect(name).toMatch(/^[a-z]+(-[a-z]+)*$/)
    expect(resource.description).toMatch(/^[A-Z].+\.$/)
  })

  it.each(each)('have their own action: %s', (_name, resource) => {
    const action = resource.createAction({
      conferenceId: 'conf_1',
    } as Parameters<StripeResource['createAction']>[0])
    expect(action).toBeInstanceOf(StripeSyncAction)
    expect(action.resource).toBe(resource)
    expect(action.constructor.name).toMatch(/^Stripe\w+Action$/)
  })

  it.each(each)('are listed in pages, or by another resource: %s', (_name, { listing }) => {
    const parent = listing.by === 'parent' ? findResource(listing.parent) : listing
    expect(parent).toBeDefined()
    expect(listing.page).toBeTypeOf('function')
  })

  it.each(each)('name their columns like Stripe, without duplicates: %s', (_name, resource) => {
    for (const column of Object.keys(resource.columns)) {
      expect(column).toMatch(/^[a-z][a-z0-9_]*$/)
      expect(Object.keys(COMMON)).not.toContain(column)
    }
  })

  it.each(each)(
    'build a row from any object, even if its fields have other shapes: %s',
    (_n, resource) => {
      for (const object of [{ id: 'x' }, ...oddObjects(resource)]) {
        const row = toMirrorRow(resource, object, readColumns(resource, object))
        expect(row).toMatchObject({ id: object.id, data: object, created: expect.any(String) })
        expect(Object.values(row)).not.toContain(undefined)
        for (const { resource: target, id } of resource.references?.(object) ?? []) {
          expect(isForeignId(findResource(target) ?? { idPrefixes: ['-'] }, id)).toBe(false)
        }
      }
    },
  )

  it.each(each)(
    'leave a complete object unchanged, without a request: %s',
    async (_name, resource) => {
      // A request would call undefined.
      const noStripe = {} as Stripe
      const object = { id: 'x', items: { data: [], has_more: false }, billing_scheme: 'per_unit' }
      expect((await resource.complete?.(noStripe, object)) ?? object).toBe(object)
      const bare = { id: 'x' }
      expect((await resource.complete?.(noStripe, bare)) ?? bare).toBe(bare)
    },
  )
})

describe('ids', () => {
  it.each([
    ['customers', 'cus_1', 'gcus_1'],
    ['payment-methods', 'card_1', 'tok_1'],
    ['charges', 'py_1', 'pi_1'],
    ['refunds', 'pyr_1', 'py_1'],
    ['payment-intents', 'pi_1', 'ipi_1'],
    ['invoices', 'in_1', 'il_1'],
    ['setup-intents', 'seti_1', 'pi_1'],
    ['checkout-sessions', 'cs_live_1', 'pi_1'],
  ])('of %s begin like %s and not like %s', (name, own, foreign) => {
    const resource = findResource(name)
    expect(isForeignId(resource ?? { idPrefixes: [] }, own)).toBe(false)
    expect(isForeignId(resource ?? { idPrefixes: [] }, foreign)).toBe(true)
  })

  it.each(['coupons', 'products', 'prices', 'plans'])(
    'of %s can be chosen freely, so any id is accepted',
    (name) => {
      expect(findResource(name)?.idPrefixes).toEqual([])
    },
  )
})

describe('tables', () => {
  const app = useTestApp()

  it.each(each)('have all columns with their types: %s', async (_name, resource) => {
    const typed = Object.entries(resource.columns).map(([name, { type }]) => [
      name,
      type in POSTGRES_NAMES ? POSTGRES_NAMES.timestamptz : type,
    ])
    const columns = await app.rows<{ name: string; type: string }>(
      `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
       where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
      [tableOf(resource)],
    )
    expect(Object.fromEntries(columns.map(({ name, type }) => [name, type]))).toEqual({
      ...COMMON,
      ...Object.fromEntries(typed),
    })
  })

  it.each(each)(
    'hide rows of other conferences, also from the table owner: %s',
    async (_n, resource) => {
      const [table] = await app.rows(
        `select relrowsecurity as enabled, relforcerowsecurity as forced,
         array(select polcmd::text from pg_policy where polrelid = pg_class.oid order by 1) as policies
       from pg_class where oid = to_regclass($1)`,
        [tableOf(resource)],
      )
      // The conference itself for everything, and some system tasks for reading.
      expect(table).toEqual({ enabled: true, forced: true, policies: ['*', 'r'] })
    },
  )

  it.each(each)('have an index for lists and for each reference: %s', async (_n, resource) => {
    const indexes = await app.rows<{ columns: string[] }>(
      `select array(select pg_get_indexdef(indexrelid, place, true)
         from generate_series(1, indnkeyatts) as place) as columns
       from pg_index where indrelid = to_regclass($1)`,
      [tableOf(resource)],
    )
    const found = indexes.map(({ columns }) => columns.join())
    const joined = Object.entries(resource.columns).filter(([, { indexed }]) => indexed)
    expect(found.toSorted()).toEqual(
      [
        'conference_id,id',
        'conference_id,created,id',
        ...joined.map(([name]) => `conference_id,${name}`),
      ].toSorted(),
    )
  })

  it.each(ALL_RESOURCES.flatMap(({ views = {} }) => Object.keys(views)))(
    'can be read through the view %s by readers of the table',
    async (view) => {
      const [options] = await app.rows<{ options: string[] }>(
        `select reloptions as options from pg_class where oid = to_regclass($1)`,
        [`stripe.${view}`],
      )
      expect(options?.options).toEqual(['security_invoker=true'])
    },
  )
})
