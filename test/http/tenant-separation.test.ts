import { beforeAll, describe, expect, it } from 'vitest'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import {
  createAddOn,
  createConference,
  createLevel,
  createSponsor,
  createStaffKey,
  createTicketType,
} from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()

/** Tables of conferences, and their column with the conference. */
const tenantTables = () =>
  app.rows<{ table: string; enabled: boolean; forced: boolean; policies: number }>(
    `select c.oid::regclass::text as table, c.relrowsecurity as enabled,
       c.relforcerowsecurity as forced,
       (select count(*)::int from pg_policy p where p.polrelid = c.oid) as policies
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema')
       and (c.relname = 'conferences' or exists (
         select from pg_attribute a where a.attrelid = c.oid and a.attname = 'conference_id'))
     order by 1`,
  )

let own: { id: string; path: string }
let other: { id: string; path: string }

beforeAll(async () => {
  own = await createConference(app, { stripe_webhook_secret: 'whsec_0123456789' })
  other = await createConference(app, { stripe_webhook_secret: 'whsec_9876543210' })
  for (const conference of [own, other]) {
    const level = await createLevel(app, conference, { comp_ticket_count: 2 })
    await createSponsor(app, conference, { level: level.id })
    await createTicketType(app, conference)
    await createAddOn(app, conference)
    await createStaffKey(app, conference, [])
  }
})

describe('row security', () => {
  it('is forced on every table with rows of a conference', async () => {
    const tables = await tenantTables()
    expect(tables.length).toBeGreaterThan(10)
    for (const row of tables) {
      expect(row, `table ${row.table}`).toMatchObject({ enabled: true, forced: true })
      expect(row.policies, `table ${row.table}`).toBeGreaterThan(0)
    }
  })

  it('shows only the rows of its conference to a query without a where', async () => {
    const filled = [
      'sponsor_levels',
      'sponsors',
      'ticket_types',
      'add_ons',
      'api_keys',
      'webhook_secrets',
      'voucher_batches',
      'vouchers',
    ]
    for (const table of filled) {
      const owners = await withTenant(app.db, { conferenceId: own.id }, (trx) =>
        trx(table).distinct('conference_id').pluck('conference_id'),
      )
      expect(owners, `table ${table}`).toEqual([own.id])
    }
    const conferences = await withTenant(app.db, { conferenceId: own.id }, (trx) =>
      trx('conferences').pluck('id'),
    )
    expect(conferences).toEqual([own.id])
  })

  it('shows no row outside withTenant and withSystem', async () => {
    // The rows of text_search are hashes (decision 20).
    const hidden = (await tenantTables()).filter(({ table }) => table !== 'text_search')
    for (const { table } of hidden) {
      expect(await app.db(table).limit(1), `table ${table}`).toEqual([])
    }
  })

  it('ends with its transaction, so that a pooled connection keeps no tenant', async () => {
    for (let i = 0; i < 20; i += 1) {
      await withTenant(app.db, { conferenceId: own.id }, (trx) => trx('sponsors').select('id'))
      await withSystem(app.db, 'timers', (trx) => trx('sponsors').select('id'))
      expect(await app.db('sponsors').select('id')).toEqual([])
    }
  })

  it('refuses to write a row of another conference', async () => {
    const insert = withTenant(app.db, { conferenceId: own.id }, (trx) =>
      trx('sponsors').insert({ conference_id: other.id, id: 'spon_x', name: 'x', slug: 'x' }),
    )
    await expect(insert).rejects.toMatchObject({ code: '42501' })
    const moved = withTenant(app.db, { conferenceId: own.id }, (trx) =>
      trx('sponsors').update({ conference_id: other.id }),
    )
    await expect(moved).rejects.toMatchObject({ code: '42501' })
    const changed = await withTenant(app.db, { conferenceId: own.id }, (trx) =>
      trx('sponsors').where({ conference_id: other.id }).update({ name: 'stolen' }),
    )
    expect(changed).toBe(0)
    const deleted = await withTenant(app.db, { conferenceId: own.id }, (trx) =>
      trx('webhook_secrets').where({ conference_id: other.id }).delete(),
    )
    expect(deleted).toBe(0)
  })

  it('lets named system tasks see all rows', async () => {
    const ids = await withSystem(app.db, 'timers', (trx) => trx('conferences').pluck('id'))
    expect(ids).toEqual(expect.arrayContaining([own.id, other.id]))
  })
})
