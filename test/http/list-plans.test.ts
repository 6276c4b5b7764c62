import pg from 'pg'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { SEEDED_TABLES, seedConference } from '../../bench/many-rows.ts'
import type { Tx } from '../../src/db/connect.ts'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { operationsOf } from '../../src/http/openapi/api-document.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { REPORT_SETTINGS } from '../../src/reports/report-queries.ts'
import { createSponsorKey } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { openapiYaml } from '../support/validate-response.ts'
import { fillOutgoing } from './route-matrix-objects.ts'

// The statements are those that the service sends; the plans are those of the ordinary role with row security.

const app = useTestApp()
const BIG = 'conf_big'
const SIZE = {
  purchases: 500_000,
  detailed: 1_000,
  reported: 100_000,
  searchable: 20_000,
  batches: 1_000,
  vouchersPerBatch: 40,
}
/** Of every table that `seedConference` does not fill. */
const ROWS = 4_000

let small: Shop
let ids: Record<string, string>
let sizes: Map<string, number>
beforeAll(async () => {
  small = await openShop(app)
  const { id: purchase } = await small.buy()
  const batch = await app.request<{ id: string }>('POST', `${small.path}/voucher-batches`, {
    body: { count: 3, voucher_type: 'comp' },
  })
  const outgoing = await fillOutgoing(app, small.conference, 'plans')
  await app.rows(
    `insert into customers (conference_id, id, sponsor_id, params, idempotency_key, created_by)
     select conference_id, 'cust_plans', id, '{"name": "x", "email": null}', 'plans', 'x' from sponsors`,
  )
  ids = {
    conference: small.conference,
    purchase,
    batch: batch.body.id,
    customer: 'cust_plans',
    sponsor: small.sponsorSlug,
    id: outgoing['webhook-endpoints'] ?? '',
  }
  const tables = await otherTables()
  for (const table of tables) await app.rows(await withoutChecks(table))
  // A trigger on the keys fills the names, and a conference has one salt.
  const filled = tables.filter((table) => !['actor_names', 'erasure_salts'].includes(table))
  for (const table of filled) await app.rows(await rowsLike(table))
  await seedConference(app.adminConnectionString, BIG, SIZE)
  sizes = await sizesOfTables()
  const [voucher] = await app.rows<{ code: string }>(
    'select code from vouchers where conference_id = $1 order by id limit 1',
    [BIG],
  )
  ids['code'] = voucher?.code ?? ''
}, 120_000)

const otherTables = async () =>
  (
    await app.rows<{ name: string }>(
      `select c.oid::regclass::text as name from pg_class c
       join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('public', 'stripe')
       join pg_attribute a on a.attrelid = c.oid and a.attname = 'conference_id'
       where c.relkind in ('r', 'p') and not c.relispartition and not c.relname = any($1)`,
      [SEEDED_TABLES],
    )
  ).map(({ name }) => name)

const VALUES: Record<string, string> = {
  text: `'x' || n`,
  integer: 'n',
  bigint: 'n',
  boolean: 'n % 2 = 0',
  jsonb: `'{}'`,
  bytea: `''`,
  'text[]': `'{}'`,
  'timestamp with time zone': `now() - n * interval '1 second'`,
}

/** SQL that drops the checks of a table. */
async function withoutChecks(table: string): Promise<string> {
  const checks = await app.rows<{ name: string }>(
    `select conname as name from pg_constraint where conrelid = $1::regclass and contype in ('c', 'f')`,
    [table],
  )
  return checks.map(({ name }) => `alter table ${table} drop constraint ${name};`).join(' ')
}

/** SQL that fills a table: the big conference has every row, each with other values. */
async function rowsLike(table: string): Promise<string> {
  const columns = await app.rows<{ name: string; type: string }>(
    `select attname as name, format_type(atttypid, null) as type from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''
       and attidentity = '' and (attname in ('conference_id', 'created_at', 'purchase_id') or attnotnull and not atthasdef)`,
    [table],
  )
  const values = columns.map(({ name, type }) =>
    name === 'conference_id' ? `'${BIG}'` : (VALUES[type] ?? `unknown_type('${type}')`),
  )
  return `insert into ${table} (${columns.map(({ name }) => name).join(', ')})
    select ${values.join(', ')} from generate_series(1, ${ROWS}) n`
}

type Sent = { text: string; values: unknown[] }

/** The reads that the service sends to answer a request. */
async function readsOf(path: string, as?: string): Promise<Sent[]> {
  const real: unknown = Reflect.get(pg.Client.prototype, 'query')
  if (typeof real !== 'function') throw new TypeError('pg.Client has no method query')
  const sent: Sent[] = []
  const query = vi.spyOn(pg.Client.prototype, 'query')
  query.mockImplementation(function (this: pg.Client, ...message) {
    const [config] = message as unknown as [Partial<Sent>]
    if (/^\s*(select|with)\b/.test(config.text ?? '') && !/set_config/.test(config.text ?? '')) {
      sent.push({ text: config.text ?? '', values: config.values ?? [] })
    }
    return Reflect.apply(real, this, message) as never
  })
  try {
    const { status, body } = await app.request('GET', path, as === undefined ? {} : { as })
    expect({ status, path, body: status === 200 ? null : body }).toMatchObject({ status: 200 })
    return sent
  } finally {
    query.mockRestore()
  }
}

type Node = {
  'Node Type': string
  'Relation Name'?: string
  'Plan Rows': number
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Rows Removed by Filter'?: number
  Plans?: Node[]
}

async function planOf({ text, values }: Sent, options: string, scope = inBig): Promise<Node[]> {
  const rows = await scope(async (trx) => {
    const connection = (await trx.client.acquireConnection()) as pg.Client
    const explain = `explain (format json${options}) ${text}`
    return (await connection.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(explain, values)).rows
  })
  const flat = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(flat)]
  return rows.flatMap((row) => flat(row['QUERY PLAN'][0].Plan))
}

type Work = (trx: Tx) => Promise<{ 'QUERY PLAN': [{ Plan: Node }] }[]>
const inBig = (work: Work) => withTenant(app.db, { conferenceId: BIG }, work)
const inReport = (work: Work) => withTenant(app.db, { conferenceId: BIG }, work, REPORT_SETTINGS)
const ofAll = (work: Work) => withSystem(app.db, 'list-purchases', work)

/** What no list of a large conference may do. */
function faultsOf(nodes: Node[]): string[] {
  return nodes.flatMap((node) => {
    const type = node['Node Type']
    const table = node['Relation Name'] ?? ''
    const below = Math.max(0, ...(node.Plans ?? []).map((child) => child['Plan Rows']))
    return [
      ...(type === 'Seq Scan' && (sizes.get(table) ?? 0) >= ROWS ? [`reads all of ${table}`] : []),
      ...(type === 'Sort' && below > 2_000 ? [`sorts ${below} rows`] : []),
    ]
  })
}

/** The most rows that a node of the plan reads. */
const rowsRead = (nodes: Node[]) =>
  Math.max(
    ...nodes.map(
      (node) =>
        ((node['Actual Rows'] ?? 0) + (node['Rows Removed by Filter'] ?? 0)) *
        (node['Actual Loops'] ?? 0),
    ),
  )

async function sizesOfTables(): Promise<Map<string, number>> {
  const rows = await app.rows<{ name: string; n: number }>(
    `select relname as name, reltuples::int as n from pg_class where relkind = 'r'`,
  )
  return new Map(rows.map(({ name, n }) => [name, n]))
}

const base64 = (text: string) => Buffer.from(text).toString('base64url')
const TIME_AND_ID = `cursor=${base64('2026-01-02 03:04:05.678901+00|x5')}`
const NUMBER = `cursor=${base64('5')}`
const TIME_AND_NUMBER = `cursor=${base64('2026-01-02 03:04:05.678901+00|5')}`

// Whether a plan is active, and the status of a subscription, are in the mirror: all of them are read.
/** The filters of each list; `''` is the list without any. Absent: the list and its next page. */
const FILTERS: Record<string, readonly string[]> = {
  listPurchaseTransitions: ['', TIME_AND_NUMBER],
  listAuditLog: ['', TIME_AND_NUMBER, 'subject=x5'],
  listVouchers: [
    '',
    NUMBER,
    'state=frozen',
    'state=active',
    'batch={batch}',
    'purchase={purchase}',
    'assigned_to=x77',
    'q=x77',
    'q=no%20such',
    'q=X5',
  ],
  listPurchaseVouchers: ['', NUMBER],
  listBatchVouchers: ['', NUMBER],
  listRedemptions: ['', TIME_AND_ID, 'reference=x', 'voucher=X5', 'purchase={purchase}'],
  listSponsors: ['', TIME_AND_ID, 'external_id=x', 'q=sponsor-77', 'q=no%20such'],
  listCharges: [
    '',
    TIME_AND_ID,
    'status=open',
    'source_reference=x',
    'manual=true',
    'sponsor={sponsor}',
  ],
  listSubscriptions: ['', TIME_AND_ID, 'customer=cust_plans'],
  listCustomers: ['', TIME_AND_ID, 'sponsor={sponsor}'],
  listSyncRuns: ['', TIME_AND_ID, 'resource=coupons', 'state=failed'],
  listWebhookDeliveries: ['', TIME_AND_ID, 'state=failed', 'type=purchase.paid'],
  // A filter by type reads the newest events: an index would cost every event.
  listStripeEvents: ['', TIME_AND_ID, 'status=failed'],
  listDiscountChanges: ['', TIME_AND_ID, 'object_id=x'],
  // What differs is found by comparing whole tables. Payouts come from Stripe.
  listStripeDrift: [],
  listPayouts: [],
  // Their own tests, with all rows.
  listPurchases: [],
  listAllPurchases: [],
}

const LISTS = operationsOf(openapiYaml())
  .filter(({ operation }) => operation.operationId.startsWith('list'))
  .flatMap(({ path, operation: { operationId } }) =>
    (path.includes('{resource}') ? ALL_RESOURCES.map(({ name }) => name) : ['']).flatMap((name) =>
      (FILTERS[operationId] ?? ['', TIME_AND_ID]).map((filter) => ({
        path: path.replace('{resource}', name),
        filter,
      })),
    ),
  )

const filled = (template: string) =>
  template.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? `no ${name}`)

describe('a list of a large conference (issue 9, line 6)', () => {
  it.each(LISTS)('follows an index: $path $filter', async ({ path, filter }) => {
    for (const sent of await readsOf(filled(`${path}?limit=50&${filter}`))) {
      const values = sent.values.map((value) => (value === small.conference ? BIG : value))
      const faults = faultsOf(await planOf({ ...sent, values }, ''))
      expect(faults, sent.text).toEqual([])
    }
  })
})

const PURCHASE_FILTERS = [
  '',
  'status=PAID',
  'status=REFUNDED',
  'sponsor=sponsor-7',
  'created_before=2099-01-01T00:00:00Z&created_after=2020-01-01T00:00:00Z',
  'flag=any',
  'flag=dispute',
  'flag=refund_failed',
  'q=PO-1000300',
  'q=ticket%207',
  'q=sponsor%20777',
  'q=nothing%20like%20this',
  'q=ticket&status=FAILED',
  'sort=oldest',
  'sort=oldest&status=REFUNDED',
  'sort=oldest&sponsor=sponsor-7',
  'sort=oldest&flag=dispute',
  'sort=oldest&flag=any',
  'sort=oldest&q=PO-1490003',
  'sort=oldest&q=sponsor%20777',
  // A whole voucher code.
  'q={code}',
]

describe('a list of 500,000 purchases', () => {
  it.each(PURCHASE_FILTERS)('reads a bounded number of rows: %s', async (filter) => {
    const path = `/v1/conferences/${BIG}/purchases?limit=50&${filled(filter)}`
    const { body } = await app.request<{ next_cursor: string | null }>('GET', path)
    const more = body.next_cursor === null ? [] : [`${path}&cursor=${body.next_cursor}`]
    for (const page of [path, ...more]) {
      for (const sent of await readsOf(page)) {
        const nodes = await planOf(sent, ', analyze, timing off, buffers off')
        expect(faultsOf(nodes), sent.text).toEqual([])
        expect(rowsRead(nodes), sent.text).toBeLessThanOrEqual(2_000)
      }
    }
  })
})

describe('a whole id among 500,000 purchases', () => {
  it.each(['id', 'payment_intent_id'])('is found without reading others: %s', async (column) => {
    const [paid] = await app.rows<Record<string, string>>(
      `select id, payment_intent_id from bulk_purchases
       where conference_id = $1 and status = 'PAID' order by created_at desc offset 9000 limit 1`,
      [BIG],
    )
    const path = `/v1/conferences/${BIG}/purchases?limit=50&q=${paid?.[column] ?? ''}`
    const { body } = await app.request<{ data: { id: string }[] }>('GET', path)
    expect(body.data.map(({ id }) => id)).toEqual([paid?.['id']])
    for (const sent of await readsOf(path)) {
      const nodes = await planOf(sent, ', analyze, timing off, buffers off')
      expect(faultsOf(nodes), sent.text).toEqual([])
      const purchases = nodes.filter((node) => node['Relation Name'] === 'bulk_purchases')
      expect(rowsRead(purchases), sent.text).toBeLessThanOrEqual(10)
    }
  })
})

describe('a list of the purchases of all conferences', () => {
  const filters = PURCHASE_FILTERS.filter((filter) => !filter.includes('sponsor='))
  it.each(filters)('reads a bounded number of rows: %s', async (filter) => {
    const path = `/v1/purchases?limit=50&${filled(filter)}`
    const { body } = await app.request<{ next_cursor: string | null }>('GET', path)
    const more = body.next_cursor === null ? [] : [`${path}&cursor=${body.next_cursor}`]
    for (const page of [path, ...more]) {
      for (const sent of await readsOf(page)) {
        const isView = sent.text.includes('as records')
        const options = ', analyze, timing off, buffers off'
        const nodes = await planOf(sent, options, isView ? inBig : ofAll)
        expect(faultsOf(nodes), sent.text).toEqual([])
        expect(rowsRead(nodes), sent.text).toBeLessThanOrEqual(2_000)
      }
    }
  })
})

describe('a sponsor in a conference with 500,000 purchases', () => {
  it.each(['purchases?', 'purchases?q=ticket%207&', 'purchases?q=nothing&', 'vouchers?'])(
    'reads a bounded number of rows: %s',
    async (list) => {
      const conference = { path: `/v1/conferences/${BIG}` }
      const sponsor = await app.request<{ id: string }>(
        'GET',
        `${conference.path}/sponsors/sponsor-7`,
      )
      const { key } = await createSponsorKey(app, conference, sponsor.body.id)
      for (const sent of await readsOf(`${conference.path}/${list}limit=50`, key)) {
        const nodes = await planOf(sent, ', analyze, timing off, buffers off')
        expect(faultsOf(nodes), sent.text).toEqual([])
        expect(rowsRead(nodes), sent.text).toBeLessThanOrEqual(2_000)
      }
    },
  )
})

describe('a report of a large conference', () => {
  it.each(['status', 'source', 'sponsor', 'day'])(
    'counts vouchers without reading them, by %s',
    async (group) => {
      const path = `/v1/conferences/${BIG}/reports/vouchers?group_by=${group}`
      for (const sent of await readsOf(path)) {
        const tables = (await planOf(sent, '')).map((node) => node['Relation Name'])
        expect(tables).not.toContain('vouchers')
      }
    },
  )

  it.each(['money?', 'money?group_by=item&', 'money?group_by=day_and_item&', 'issue-times?'])(
    'of two days reads only the index of these days: %s',
    async (report) => {
      const day = (before: number) =>
        new Date(Date.now() - before * 86_400_000).toISOString().slice(0, 10)
      const days = `from=${day(5)}&to=${day(4)}`
      for (const sent of await readsOf(`/v1/conferences/${BIG}/reports/${report}${days}`)) {
        const nodes = await planOf(sent, '', inReport)
        // Percentiles sort the different times of each day.
        const faults = faultsOf(nodes).filter((fault) => fault.startsWith('reads'))
        expect(faults, sent.text).toEqual([])
        const scans = nodes.filter(({ 'Node Type': type }) => type === 'Index Only Scan')
        expect(scans.map((scan) => scan['Relation Name'])).toContain(
          report === 'issue-times?' ? 'voucher_issue_times' : 'money_movements',
        )
      }
    },
  )

  it.each(['status', 'day', 'sponsor'])('sorts no purchases, by %s', async (group) => {
    const path = `/v1/conferences/${BIG}/reports/purchases?group_by=${group}`
    for (const sent of await readsOf(path)) {
      const sorts = faultsOf(await planOf(sent, '', inReport)).filter((fault) =>
        fault.startsWith('sorts'),
      )
      expect(sorts, sent.text).toEqual([])
    }
  })
})
