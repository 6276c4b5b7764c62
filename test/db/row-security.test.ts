import pg from 'pg'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { connect, type Tx } from '../../src/db/connect.ts'
import { type SystemTask, withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { directUrl } from '../support/test-connections.ts'

const app = useTestApp()
let mine: Shop
let theirs: Shop
beforeAll(async () => {
  mine = await openShop(app)
  theirs = await openShop(app)
  for (const shop of [mine, theirs]) {
    await shop.buy()
    const batch = { count: 3, voucher_type: 'comp', discount_value: 0 }
    await app.request('POST', `${shop.path}/voucher-batches`, { body: batch })
  }
})

const TENANT_COLUMN = `select c.relname as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'conference_id' and not a.attisdropped
  where n.nspname = 'public' and c.relkind in ('r', 'p') order by 1`

describe('tenants in Postgres', () => {
  it('are separated by forced row security on every table of tenants', async () => {
    const tables = await app.rows<{ name: string; enabled: boolean; forced: boolean }>(
      TENANT_COLUMN,
    )
    expect(tables.length).toBeGreaterThan(12)
    for (const table of tables) expect(table).toMatchObject({ enabled: true, forced: true })
  })

  it('see no row of each other, even without a where', async () => {
    const tables = await app.rows<{ name: string }>(TENANT_COLUMN)
    // It contains no text but hashes, which every tenant may read (decision 20).
    const readable = ['text_search']
    for (const { name } of tables.filter((table) => !readable.includes(table.name))) {
      const seen = await withTenant(app.db, { conferenceId: mine.conference }, (trx) =>
        trx(name).distinct('conference_id').pluck('conference_id'),
      )
      // The names of the platform's actors belong to no conference.
      const own = name === 'actor_names' ? [mine.conference, null] : [mine.conference]
      expect(seen.filter((id) => !own.includes(id as string | null))).toEqual([])
    }
    const all = await app.rows<{ n: number }>(
      'select count(distinct conference_id)::int as n from vouchers',
    )
    expect(all[0]?.n).toBe(2)
  })

  it('are named in the message that begins the transaction, without a round trip', async () => {
    const messages = vi.spyOn(pg.Client.prototype, 'query')
    const seen = await withTenant(app.db, { conferenceId: "it's ?" }, (trx) =>
      trx.raw<{ rows: unknown[] }>(`select current_setting('app.conference_id') as name`),
    )
    expect(seen.rows).toEqual([{ name: "it's ?" }])
    expect(messages).toHaveBeenCalledTimes(3)
  })

  it('lose the connection that cannot begin a transaction', async () => {
    const db = connect(directUrl(app.connectionString), { max: 1 })
    const serverProcess = async () =>
      (await db.raw<{ rows: { pid: number }[] }>('select pg_backend_pid() as pid')).rows[0]?.pid
    try {
      const before = await serverProcess()
      const query = vi.spyOn(pg.Client.prototype, 'query')
      query.mockRejectedValueOnce(new Error('cut off'))
      const work = (trx: Tx) => trx.raw('select 1')
      await expect(withTenant(db, { conferenceId: 'conf_1' }, work)).rejects.toThrow('cut off')
      expect(await serverProcess()).not.toBe(before)
    } finally {
      await db.destroy()
    }
  })

  it('cannot write rows of each other', async () => {
    await expect(
      withTenant(app.db, { conferenceId: mine.conference }, (trx) =>
        trx('sponsor_levels').insert({
          conference_id: theirs.conference,
          id: 'lvl_x',
          name: 'x',
          slug: 'x',
        }),
      ),
    ).rejects.toThrow(/row-level security/)
    const touched = await withTenant(app.db, { conferenceId: mine.conference }, (trx) =>
      trx('bulk_purchases').update({ reference: 'mine' }),
    )
    expect(touched).toBe(1)
  })

  it('find what others wrote only if they know their conference, and change none of it', async () => {
    const texts = (conference: string) =>
      withTenant(app.db, { conferenceId: mine.conference }, async (trx) => {
        const { rows } = await trx.raw<{ rows: { id: string }[] }>(
          `select id from text_search where kind = 'sponsor' and grams @> text_grams(?, 'sponsor')`,
          [`${conference}sponsor`],
        )
        return rows.length
      })
    expect(await texts('')).toBe(0)
    const write = (work: (trx: Tx) => Promise<unknown>) =>
      withTenant(app.db, { conferenceId: mine.conference }, work)
    const row = { conference_id: theirs.conference, kind: 'sponsor', id: 'x', grams: [] }
    await expect(write(async (trx) => trx('text_search').insert(row))).rejects.toThrow(
      /row-level security/,
    )
    const of = { conference_id: theirs.conference }
    expect(await write(async (trx) => trx('text_search').where(of).update({ id: 'x' }))).toBe(0)
    expect(await write(async (trx) => trx('text_search').where(of).delete())).toBe(0)
  })

  it('show no row outside withTenant', async () => {
    expect(await app.db('bulk_purchases').pluck('id')).toEqual([])
    expect(await app.db('conferences').pluck('id')).toEqual([])
  })

  it('have keys that begin with the conference, so no row can refer to another tenant’s row', async () => {
    const foreign = await app.rows<{ definition: string }>(
      `select conrelid::regclass || ': ' || pg_get_constraintdef(oid) as definition from pg_constraint
        where contype = 'f' and connamespace = 'public'::regnamespace`,
    )
    const loose = foreign
      .map(({ definition }) => definition)
      .filter(
        (text) => !/FOREIGN KEY \(conference_id\b/.test(text) && !text.startsWith('api_keys: '),
      )
    expect(loose).toEqual([])
  })
})

describe('system tasks', () => {
  const count = (task: SystemTask, table: string) =>
    withSystem(app.db, task, async (trx) => (await trx(table).select(trx.raw('1'))).length)

  it('A look-up of a conference reads only what it needs, and writes nothing (issue 8, line 23)', async () => {
    expect(await count('resolve-conference', 'conferences')).toBeGreaterThanOrEqual(2)
    for (const table of ['bulk_purchases', 'vouchers', 'api_keys', 'sponsors']) {
      expect(await count('resolve-conference', table), table).toBe(0)
    }
    const change = withSystem(app.db, 'resolve-conference', (trx) =>
      trx('conferences').update({ name: 'hacked' }),
    )
    await expect(change).rejects.toThrow(/read-only transaction/)
  })

  it('A system task changes only its own tables, and a name that is not a task sees nothing (issue 8, line 23)', async () => {
    const changed = (task: SystemTask, table: string) =>
      withSystem(app.db, task, (trx) =>
        trx(table).update({ conference_id: trx.ref('conference_id') }),
      )
    const own: [SystemTask, string][] = [
      ['authenticate', 'api_keys'],
      ['end-holds', 'vouchers'],
    ]
    for (const [task, table] of own) expect(await changed(task, table), task).toBeGreaterThan(0)
    const foreign: [SystemTask, string][] = [
      ['authenticate', 'bulk_purchases'],
      ['store-events', 'bulk_purchases'],
      ['claim-events', 'bulk_purchases'],
      ['timers', 'bulk_purchases'],
      ['timers', 'vouchers'],
      ['prune', 'vouchers'],
      ['end-holds', 'bulk_purchases'],
      ['manage-conferences', 'bulk_purchases'],
      ['manage-conferences', 'vouchers'],
    ]
    for (const [task, table] of foreign) expect(await changed(task, table), task).toBe(0)
    expect(await count('timers', 'bulk_purchases')).toBe(2)
    expect(await count('timers', 'api_keys')).toBe(0)
    const seen = await app.db.transaction(async (trx) => {
      await trx.raw(`select set_config('app.system_task', 'anything', true)`)
      return trx('conferences').pluck('id')
    })
    expect(seen).toEqual([])
  })

  it('are named in every policy, so that no table is open to all of them (issue 8, line 23)', async () => {
    const open = await app.rows(
      `select schemaname, tablename, policyname from pg_policies
       where coalesce(qual, '') || coalesce(with_check, '') like '%system_task%<> %'`,
    )
    expect(open).toEqual([])
  })
})
