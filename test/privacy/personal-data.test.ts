import { describe, expect, it } from 'vitest'
import { PERSONAL_COLUMNS } from '../../migrations/0070_privacy.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import { columnsOf, MIRROR_TABLES, PERSONAL_DATA } from '../../src/privacy/personal-data.ts'
import { TEXT_TABLES } from '../../src/privacy/redact-texts.ts'
import { BELONGING } from '../../src/privacy/subject.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const HOLDS_NO_TEXT = 'bool int2 int4 int8 numeric timestamptz date pg_lsn _int4'.split(' ')

const inSchema = () =>
  app.rows<{ name: string; key: string[]; columns: string[] }>(
    `select case n.nspname when 'public' then c.relname else n.nspname || '.' || c.relname end as name,
       array(select a.attname::text from pg_index i, unnest(i.indkey) with ordinality k (number, place)
         join pg_attribute a on a.attnum = k.number
         where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid
           and a.attname <> 'conference_id' and not exists (
             -- The time that places a row in its partition.
             select from pg_partitioned_table p where p.partrelid = c.oid and a.attnum = any(p.partattrs))
         order by k.place) as key,
       array(select a.attname::text from pg_attribute a join pg_type t on t.oid = a.atttypid
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           and t.typname <> all($1) order by 1) as columns
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p') and not c.relispartition and n.nspname in ('public', 'stripe', 'graphile_worker')`,
    [HOLDS_NO_TEXT],
  )

describe('the list of personal data', () => {
  it('says of every column that can hold text what an erasure does with it', async () => {
    const tables = (await inSchema()).filter(({ columns }) => columns.length > 0)
    const listed = Object.entries(PERSONAL_DATA).map(([name, { columns }]) => ({
      name,
      // Of another type, and named because a reader would look for it.
      columns: [...columns.keys()].filter((column) => column !== 'grams').toSorted(),
    }))
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
    expect(listed.toSorted(byName)).toEqual(
      tables.map(({ name, columns }) => ({ name, columns: columns.toSorted() })).toSorted(byName),
    )
  })

  it('has the keys by which an erasure walks a table', async () => {
    const keys = new Map((await inSchema()).map(({ name, key }) => [name, key]))
    for (const name of [...TEXT_TABLES, ...MIRROR_TABLES, 'stripe_events']) {
      expect({ name, key: PERSONAL_DATA[name]?.key }).toEqual({ name, key: keys.get(name) })
    }
  })

  it('names the columns of the mirror that its trigger empties', () => {
    for (const table of MIRROR_TABLES) {
      for (const column of columnsOf(table, 'own')) {
        expect([...PERSONAL_COLUMNS, 'metadata', 'data']).toContain(column)
      }
    }
  })

  it('knows of every resource of the mirror whether its objects belong to somebody', () => {
    const ofNobody = ['coupons', 'payouts', 'plans', 'prices', 'products', 'promotion_codes']
    const known = ['customers', ...BELONGING.map(([table]) => table), ...ofNobody]
    const tables = known.map((table) => `stripe.${table}`)
    expect(tables.toSorted()).toEqual(ALL_RESOURCES.map(tableOf).toSorted())
  })

  it('is followed by a trigger on every table of the mirror, also one that a later release adds', async () => {
    const triggers = await app.rows<{ name: string }>(
      `select tgrelid::regclass::text as name from pg_trigger
       where tgfoid = 'redact_mirror_row'::regproc order by 1`,
    )
    expect(triggers.map(({ name }) => name)).toEqual([...MIRROR_TABLES].toSorted())
  })
})
