import { readdir, readFile } from 'node:fs/promises'
import type Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  resource as earlyFraudWarnings,
  StripeEarlyFraudWarningAction,
} from '../../docs/examples/early-fraud-warnings.ts'
import {
  AnnouncingCustomerAction,
  CompanyCustomerAction,
  TidyCustomerAction,
} from '../../docs/examples/tidy-customers.ts'
import { databaseNow } from '../../src/mirror/fetch-time.ts'
import { dropMirrorTable, migrateMirrorTable } from '../../src/mirror/migrate-mirror-table.ts'
import { idOf, RETURN_URLS } from '../support/shop.ts'
import { type StoredRow, useSyncScene, type WiredShop } from './sync-scene.ts'

const DOCS = new URL('../../docs/', import.meta.url)

const scene = useSyncScene()
let shop: WiredShop
let stripe: Stripe
beforeAll(async () => {
  shop = await scene.openWiredShop()
  stripe = scene.stripeOf(shop)
})

async function row(table: string, id: string): Promise<StoredRow | undefined> {
  return (await scene.stored(shop, table)).find((stored) => stored.id === id)
}

describe('docs/mirror.md', () => {
  it('contains the examples that this file tests, unchanged', async () => {
    const page = await readFile(new URL('mirror.md', DOCS), 'utf8')
    const files = await readdir(new URL('examples/', DOCS))
    const shown = ['early-fraud-warnings.ts', 'tidy-customers.ts']
    expect(files).toEqual(expect.arrayContaining(shown))
    for (const file of shown) {
      const code = await readFile(new URL(`examples/${file}`, DOCS), 'utf8')
      expect(page).toContain(`\`\`\`ts\n// docs/examples/${file}\n${code}\`\`\`\n`)
    }
  })
})

describe('the example resource', () => {
  async function warning(): Promise<Stripe.Radar.EarlyFraudWarning> {
    const { id } = await stripe.checkout.sessions.create({
      mode: 'payment',
      ...RETURN_URLS,
      line_items: [
        {
          price_data: { currency: 'eur', unit_amount: 2500, product_data: { name: 'Voucher' } },
          quantity: 4,
        },
      ],
    })
    scene.fake.control.pay(id)
    const { payment_intent: intent } = await stripe.checkout.sessions.retrieve(id)
    return scene.fake.control.earlyFraudWarning(idOf(intent))
  }

  it('has a table and a view, and is synced by listing and by id', async () => {
    await migrateMirrorTable(scene.db, earlyFraudWarnings)
    // As at every start: a second migration changes nothing.
    await migrateMirrorTable(scene.db, earlyFraudWarnings)
    const action = new StripeEarlyFraudWarningAction(scene.context(shop))
    const [read, listed] = [await warning(), await warning()]
    expect(await action.syncByIds([read.id, 'ch_1'])).toMatchObject([
      { id: read.id, result: 'synced', outcome: 'created' },
      { id: 'ch_1', result: 'failed', error: { code: 'foreign_id' } },
    ])
    expect(await action.syncAll()).toMatchObject({ state: 'succeeded' })
    expect(await scene.stored(shop, 'early_fraud_warnings')).toHaveLength(2)
    expect(await row('early_fraud_warnings', listed.id)).toMatchObject({
      actionable: listed.actionable,
      charge: listed.charge,
      fraud_type: listed.fraud_type,
      payment_intent: listed.payment_intent,
    })
    const open = await scene.rows<{ id: string }>('select id from stripe.open_warnings')
    expect(open.map(({ id }) => id).toSorted()).toEqual(
      [read, listed]
        .filter(({ actionable }) => actionable)
        .map(({ id }) => id)
        .toSorted(),
    )
    expect(earlyFraudWarnings.references?.(listed)).toEqual([
      { resource: 'charges', id: listed.charge },
      { resource: 'payment-intents', id: listed.payment_intent },
    ])
    await dropMirrorTable(scene.db, earlyFraudWarnings)
    expect(await scene.rows(`select to_regclass('stripe.open_warnings')::text as view`)).toEqual([
      { view: null },
    ])
  })
})

describe('a view of the mirror on which somebody has built another view', () => {
  const selecting = (columns: string) => ({
    ...earlyFraudWarnings,
    views: { open_warnings: `select ${columns} from mirror where actionable` },
  })
  const columnsOf = async (view: string) => {
    const rows = await scene.rows<{ name: string }>(
      `select attname as name from pg_attribute
       where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
      [view],
    )
    return rows.map(({ name }) => name)
  }

  it('can get other columns with the next release (issue 8, line 26)', async () => {
    await migrateMirrorTable(scene.db, selecting('conference_id, id, charge'))
    await scene.db.raw('create view public.warned as select id, charge from stripe.open_warnings')
    await migrateMirrorTable(scene.db, selecting('conference_id, id, charge, fraud_type'))
    expect(await columnsOf('stripe.open_warnings')).toEqual(
      'conference_id id charge fraud_type'.split(' '),
    )
    await migrateMirrorTable(scene.db, selecting('conference_id, fraud_type, id'))
    expect(await columnsOf('stripe.open_warnings')).toEqual(
      'conference_id fraud_type id'.split(' '),
    )
    expect(await columnsOf('public.warned')).toEqual(['id', 'charge'])
    expect(await scene.rows('select * from public.warned')).toEqual([])
    await dropMirrorTable(scene.db, earlyFraudWarnings)
  })
})

describe('the example of an extended action', () => {
  const customer = (changes: Stripe.CustomerCreateParams) => stripe.customers.create(changes)

  it('changes the columns and keeps the Stripe object unchanged', async () => {
    const { id } = await customer({ email: 'Ada@Example.COM', metadata: { company: 'Acme' } })
    const action = new TidyCustomerAction(scene.context(shop))
    expect(await action.syncByIds([id])).toEqual([{ id, result: 'synced', outcome: 'created' }])
    expect(await row('customers', id)).toMatchObject({
      email: 'ada@example.com',
      name: 'Acme',
      data: { email: 'Ada@Example.COM', name: null },
    })
  })

  it('does the same for batches and full syncs', async () => {
    const [one, two] = [
      await customer({ email: 'ONE@x.org' }),
      await customer({ email: 'TWO@x.org' }),
    ]
    const action = new TidyCustomerAction(scene.context(shop))
    await action.syncBatch([one], await databaseNow(scene.db))
    expect(await row('customers', one.id)).toMatchObject({ email: 'one@x.org' })
    expect(await action.syncAll()).toMatchObject({ state: 'succeeded' })
    expect(await row('customers', two.id)).toMatchObject({ email: 'two@x.org' })
  })

  it('fills a column that was added to the table, also in a full sync (issue 8, line 28)', async () => {
    await scene.db.raw('alter table stripe.customers add column company text')
    const [one, two] = [
      await customer({ metadata: { company: 'Acme' } }),
      await customer({ email: 'Bee@x.org', metadata: { company: 'Bee' } }),
    ]
    const action = new CompanyCustomerAction(scene.context(shop))
    await action.syncByIds([one.id])
    expect(await row('customers', one.id)).toMatchObject({ company: 'Acme', name: 'Acme' })
    expect(await action.syncAll()).toMatchObject({ state: 'succeeded' })
    expect(await row('customers', two.id)).toMatchObject({ company: 'Bee', email: 'bee@x.org' })
  })

  it('logs each new customer once', async () => {
    const { id } = await customer({ name: 'New' })
    const action = new AnnouncingCustomerAction(scene.context(shop))
    await action.syncByIds([id])
    await action.syncAll()
    const sent = scene.log.filter((line) => line.includes('welcome') && line.includes(id))
    expect(sent).toHaveLength(1)
  })
})
