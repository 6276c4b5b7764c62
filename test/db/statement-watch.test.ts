import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { statementName } from '../../src/db/statement-watch.ts'
import { tenantStatement, withTenant } from '../../src/db/tenant-scope.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { type Leaf, runWork, type Span } from '../../src/shared/work-context.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()
const tenant = { conferenceId: 'conf_SECRET' }
const lines: Record<string, unknown>[] = []
const slow: string[] = []
const open: Db[] = []

function connectWith(slowMs: number | null): Db {
  const logger = createLogger('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  const metrics = { ...noMetrics, slowStatement: (name: string) => void slow.push(name) }
  const db = connect(database.connectionString, { max: 1, watch: { logger, metrics, slowMs } })
  open.push(db)
  return db
}

afterAll(() => Promise.all(open.map((db) => db.destroy())))

const sleepingFor = (db: Db, seconds: number) =>
  tenantStatement(
    db,
    tenant,
    (bind) => `select pg_sleep(${bind(seconds)}), ${bind('SECRET-CODE')}::text from conferences
      right join (values (1)) as one (n) on conferences.name = 'SECRET-NAME'`,
  )

describe('a slow statement', () => {
  let db: Db
  beforeAll(() => {
    db = connectWith(500)
  })

  it('is logged with its name and text, without any value, and with the ids of its work', async () => {
    const subject = { reqId: 'req_1', purchase: 'bp_1' }
    await runWork({ subject, span: null }, () => sleepingFor(db, 0.6))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      level: 40,
      msg: 'slow statement',
      statement: 'select conferences',
      sql: expect.stringMatching(
        /^select pg_sleep\(\$1\), \$2::text from conferences .*name = '\?'$/,
      ),
      ...subject,
    })
    expect(lines[0]?.['ms']).toEqual(expect.any(Number))
    expect(JSON.stringify(lines)).not.toContain('SECRET')
    expect(slow).toEqual(['select conferences'])
  })

  it('is not one that only waited behind another of its transaction', async () => {
    lines.length = 0
    await withTenant(db, tenant, async (trx) => {
      await Promise.all([trx.raw('select pg_sleep(0.6)'), trx.raw('select 1 from conferences')])
    })
    expect(lines.map(({ statement }) => statement)).toEqual(['select pg_sleep'])
  })

  it('is logged also when it fails', async () => {
    lines.length = 0
    const failing = db.raw(`do $$ begin perform pg_sleep(0.6); raise 'no'; end $$`)
    await expect(failing).rejects.toThrow('no')
    expect(lines).toMatchObject([{ statement: 'do' }])
  })

  it('is not logged without a limit', async () => {
    lines.length = 0
    await sleepingFor(connectWith(null), 0.6)
    expect(lines).toEqual([])
  })
})

it('appears in the trace of its work with its name, its start and the code of its error', async () => {
  const leaves: Leaf[] = []
  // A connection uses nothing else of it.
  const span = { record: (leaf) => void leaves.push(leaf) } as Partial<Span> as Span
  const db = connectWith(null)
  await runWork({ subject: {}, span }, async () => {
    await sleepingFor(db, 0)
    await expect(db.raw('select * from nowhere')).rejects.toThrow('nowhere')
  })
  await sleepingFor(db, 0)
  expect(leaves.map(({ name, error }) => [name, error])).toEqual([
    ['select conferences', undefined],
    ['commit', undefined],
    ['select nowhere', '42P01'],
  ])
  expect(leaves[0]).toMatchObject({
    kind: 'client',
    attributes: { 'db.system.name': 'postgresql', 'db.query.summary': 'select conferences' },
  })
})

describe('the name of a statement', () => {
  it.each([
    ['select * from "bulk_purchases" where "id" = $1 for update', 'select bulk_purchases'],
    ['select * from vouchers for no key update', 'select vouchers'],
    ['insert into "vouchers" ("a") values ($1) on conflict do update set a = 1', 'insert vouchers'],
    ['update only "stripe"."charges" set a = 1', 'update stripe.charges'],
    ['delete from rate_limits where a', 'delete rate_limits'],
    [
      `with due as (select id from stripe_events for update skip locked), claimed as (
         update stripe_events e set attempts = 1 from due returning e.id)
       select * from claimed`,
      'update stripe_events',
    ],
    [
      'with a as materialized (select 1), b (x, y) as (select * from a) select * from b join conferences c on true',
      'select conferences',
    ],
    ['select extract(epoch from as_of) from stripe.charges', 'select stripe.charges'],
    ['select * from unnest($1::text[]) as x join redemptions r on true', 'select redemptions'],
    [`select pg_notify('channel', $1)`, 'select pg_notify'],
    [`begin; set local app.conference_id = 'conf_1'`, 'begin'],
    ['COMMIT;', 'commit'],
    ['select $1::int', 'select'],
  ])('of %s is %s', (sql, name) => {
    expect(statementName(sql)).toBe(name)
  })
})
