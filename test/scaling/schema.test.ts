import { describe, expect, it } from 'vitest'
import { OWNERS } from '../architecture/sql-ownership.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { LOCAL, PLACED, placementOf, REFERENCE } from './placement.ts'
import { FOREIGN_KEYS_TO_REPLACE, LOCAL_TRIGGERS_TO_REPLACE, TRIGGERS } from './triggers.ts'

// What Citus needs of the migrated schema before its tables can be distributed by conference (docs/scaling.md).

const database = useTestDatabase()
const rows = <Row extends Record<string, unknown>>(sql: string) =>
  adminQuery<Row>(database.adminConnectionString, sql)

const SCHEMAS = `('public'::regnamespace, 'stripe'::regnamespace)`
const isDistributed = (table: string) => placementOf(table) === 'distributed'

type Named = { table: string; name: string; definition: string }

describe('each table', () => {
  it('has a place: on the node of its conference, on every node, or on the coordinator', async () => {
    const tables = await rows<{ table: string }>(
      `select oid::regclass::text as table from pg_class
       where relkind in ('r', 'p') and not relispartition and relnamespace in ${SCHEMAS}`,
    )
    const names = tables.map(({ table }) => table)
    expect(names.filter((name) => placementOf(name) === null)).toEqual([])
    expect(PLACED.filter((name) => !names.includes(name))).toEqual([])
    const reasons = Object.values({ ...LOCAL, ...REFERENCE })
    expect(reasons.filter((reason) => reason.length < 10)).toEqual([])
  })

  it('of a conference has its id as the first column, never null', async () => {
    const first = await rows<{ table: string; column: string; required: boolean }>(
      `select attrelid::regclass::text as table, attname as column, attnotnull as required
       from pg_attribute join pg_class c on c.oid = attrelid
       where attnum = 1 and relkind in ('r', 'p') and relnamespace in ${SCHEMAS}`,
    )
    const tables = first.filter(({ table }) => isDistributed(table))
    expect(tables.length).toBeGreaterThan(40)
    const wrong = tables.filter(({ column, required }) => column !== 'conference_id' || !required)
    expect(wrong).toEqual([])
  })
})

describe('keys', () => {
  it('of a conference begin with its id: primary keys, unique indexes and exclusions', async () => {
    const keys = await rows<Named>(
      `select indrelid::regclass::text as table, indexrelid::regclass::text as name,
         pg_get_indexdef(indexrelid) as definition
       from pg_index join pg_class c on c.oid = indrelid
       where (indisunique or indisexclusion) and relnamespace in ${SCHEMAS}`,
    )
    const distributed = keys.filter(({ table }) => isDistributed(table))
    expect(distributed.length).toBeGreaterThan(40)
    expect(distributed.filter(({ definition }) => !/\(conference_id\b/.test(definition))).toEqual(
      [],
    )
  })

  it('tell the rows of each table apart, so that Citus can move them while they are written', async () => {
    const tables = await rows<{ table: string }>(
      `select c.oid::regclass::text as table from pg_class c
       where relkind in ('r', 'p') and relnamespace in ${SCHEMAS} and relreplident <> 'f'
         and not exists (select from pg_index where indrelid = c.oid and indisprimary)`,
    )
    expect(tables.filter(({ table }) => isDistributed(table))).toEqual([])
  })
})

describe('foreign keys', () => {
  const foreignKeys = () =>
    rows<Named & { target: string }>(
      `select conrelid::regclass::text as table, confrelid::regclass::text as target, conname as name,
         pg_get_constraintdef(oid) as definition
       from pg_constraint where contype = 'f' and conparentid = 0 and connamespace in ${SCHEMAS}`,
    )

  it('between conferences’ tables compare the conference, and only those that are named go where Citus refuses', async () => {
    const refused = (await foreignKeys()).filter(({ table, target, definition }) => {
      const [from, to] = [placementOf(table), placementOf(target)]
      if (from === 'distributed' && to === 'distributed') {
        return !/FOREIGN KEY \(conference_id\b.*REFERENCES [\w.]+\(conference_id\b/.test(definition)
      }
      // A copy on each node, or two tables of the coordinator.
      return to !== 'reference' && !(from === 'local' && to === 'local')
    })
    expect(refused.map(({ name }) => name).toSorted()).toEqual(
      Object.keys(FOREIGN_KEYS_TO_REPLACE).toSorted(),
    )
  })

  it('do not set columns to null, which Citus refuses for a key with the conference', async () => {
    const setting = (await foreignKeys()).filter(({ table, definition }) =>
      isDistributed(table) ? /SET (NULL|DEFAULT)|ON UPDATE/.test(definition) : false,
    )
    expect(setting).toEqual([])
  })
})

describe('triggers', () => {
  type Trigger = { table: string; name: string; source: string }
  const triggers = () =>
    rows<Trigger>(
      `select tgrelid::regclass::text as table, proname as name, prosrc as source
       from pg_trigger t join pg_proc p on p.oid = tgfoid
       where not tgisinternal and tgparentid = 0`,
    )
  const distinct = (names: readonly string[]) => [...new Set(names)].toSorted()

  it('on tables that leave the coordinator are planned: they work on one node, or a statement replaces them', async () => {
    const there = (await triggers()).filter(({ table }) => placementOf(table) !== 'local')
    expect(distinct(there.map(({ name }) => name))).toEqual(
      distinct(TRIGGERS.map(({ trigger }) => trigger)),
    )
  })

  it('touch the tables that their plan names; those that stay touch only rows on their own node', async () => {
    const sources = new Map((await triggers()).map(({ name, source }) => [name, source]))
    for (const { trigger, touches, on } of TRIGGERS) {
      const source = await withCalledFunctions(sources.get(trigger) ?? '')
      const named = Object.keys(OWNERS).filter((table) =>
        new RegExp(String.raw`\b(?:from|into|update|join) ${table}\b`, 'i').test(source),
      )
      expect({ trigger, touches: named.toSorted() }).toEqual({
        trigger,
        touches: [...touches].toSorted(),
      })
      const isElsewhere = on === 'works' && touches.some((table) => placementOf(table) === 'local')
      expect({ trigger, isElsewhere }).toEqual({ trigger, isElsewhere: false })
    }
  })

  it('of the coordinator write tables of the coordinator, except those that are named', async () => {
    const writes = (await triggers()).filter(
      ({ table, source }) =>
        placementOf(table) === 'local' &&
        [...source.matchAll(/\b(?:insert into|update) (\w+)/g)].some(
          ([, target = '']) => (placementOf(target) ?? 'local') !== 'local',
        ),
    )
    expect(distinct(writes.map(({ name }) => name))).toEqual(
      distinct(Object.keys(LOCAL_TRIGGERS_TO_REPLACE)),
    )
  })

  /** The body of a function with those of our functions that it calls. */
  async function withCalledFunctions(source: string): Promise<string> {
    const functions = await rows<{ name: string; source: string }>(
      `select proname as name, coalesce(nullif(prosrc, ''), pg_get_functiondef(oid)) as source
       from pg_proc where pronamespace = 'public'::regnamespace and prokind = 'f'`,
    )
    const found = new Set<string>()
    const add = (text: string): string =>
      functions
        .filter(({ name }) => !found.has(name) && new RegExp(String.raw`\b${name}\(`).test(text))
        .map(({ name, source: body }) => {
          found.add(name)
          return body + add(body)
        })
        .join('\n')
    return source + add(source)
  }
})

describe('row security', () => {
  it('has no subquery in a policy of a distributed table, which Citus refuses', async () => {
    const policies = await rows<{ table: string }>(
      `select polrelid::regclass::text as table from pg_policy
       where coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '')
         ~* 'select'`,
    )
    expect(policies).toEqual([])
  })
})
