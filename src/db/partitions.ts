import type { Knex } from 'knex'
import type { Db } from './connect.ts'
import { deleteInBatches } from './delete-in-batches.ts'
import { isDeadlock, isLockTimeout } from './pg-errors.ts'
import { protectByConference, withSystem } from './tenant-scope.ts'

/**
 * A table with a partition for each month (UTC), one for rows of no such month (`…_default`), and one for rows from
 * before the table was partitioned (`…_until_2027_01`). docs/decisions/0036
 */
export type Partitioned = {
  table: string
  /** The time that places a row. It never changes. */
  column: string
  /** SQL that is true for rows to keep when their partition is dropped. They move to the default partition. */
  kept: string
}

/** For so many months ahead, partitions are created. */
const MONTHS_AHEAD = 2

/**
 * A longer wait would hold up everything that waits for the same table. The next hour tries again. Less than Postgres'
 * `deadlock_timeout` (1 s): when a request and this work wait for each other, this work ends first.
 */
const LOCK_TIMEOUT = '400ms'

type Month = { name: string; from: string; to: string }

/** SQL for the months of a range, with the names of their partitions and their bounds. */
const MONTHS = `
  select to_char(m, 'YYYY_MM') as name, to_char(m, 'YYYY-MM-DD') || ' 00:00:00+00' as "from",
    to_char(m + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00' as "to"
  from generate_series(date_trunc('month', now() at time zone 'UTC'),
    date_trunc('month', now() at time zone 'UTC') + make_interval(months => ?), interval '1 month') as m
  where to_regclass(? || to_char(m, 'YYYY_MM')) is null
    and not exists (select from pg_inherits where inhparent = ?::regclass
      and inhrelid::regclass::text like ? and right(inhrelid::regclass::text, 7) > to_char(m, 'YYYY_MM'))`

/**
 * Creates the partitions of this month and the next ones that are missing. Rows in the default partition that
 * belong to them move.
 *
 * @param knex inside a transaction that may read and write the table.
 * @returns their number.
 */
export async function createPartitions(
  knex: Knex,
  { table, column }: Partitioned,
): Promise<number> {
  await lockPartitions(knex, table)
  const { rows: months } = await knex.raw<{ rows: Month[] }>(MONTHS, [
    MONTHS_AHEAD,
    `${table}_`,
    table,
    `${table}_until_%`,
  ])
  for (const { name, from, to } of months) {
    const partition = `${table}_${name}`
    await knex.raw(`
      create table ${partition} (like ${table} including defaults including constraints including storage);
      with moved as (
        delete from ${table}_default where ${column} >= '${from}' and ${column} < '${to}' returning *)
      insert into ${partition} select * from moved;
      alter table ${table} attach partition ${partition} for values from ('${from}') to ('${to}');
    `)
    // Rows are read through the table, by its policies. These are for who reads a partition itself.
    await protectByConference(knex, partition)
  }
  return months.length
}

/**
 * Makes partitions ahead, drops those whose first day is more than `days` ago, and deletes such rows from the
 * default partition. Rows that match `kept` stay. When another transaction holds a lock on the table for long, the
 * rest waits for the next call.
 *
 * @param days null: drops nothing.
 * @returns the names of the dropped partitions.
 */
export async function maintainPartitions(
  db: Db,
  partitioned: Partitioned,
  days: number | null,
): Promise<string[]> {
  const dropped: string[] = []
  try {
    await withLock(db, (trx) => createPartitions(trx, partitioned))
    if (days === null) return dropped
    while (await withLock(db, (trx) => detachOldest(trx, partitioned, days)));
    for (;;) {
      const detached = await withLock(db, (trx) => dropDetached(trx, partitioned.table))
      if (detached === null) break
      dropped.push(detached)
    }
  } catch (error) {
    if (!isLockTimeout(error) && !isDeadlock(error)) throw error
  }
  if (days !== null) {
    const { table, column, kept } = partitioned
    const old = `${column} < now() - interval '${days} days' and not (${kept})`
    await deleteInBatches(db, `${table}_default`, old)
  }
  return dropped
}

function withLock<T>(db: Db, work: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
  return withSystem(db, 'partitions', async (trx) => {
    await trx.raw(`set local lock_timeout = '${LOCK_TIMEOUT}'`)
    return work(trx)
  })
}

/** One process at a time makes and drops the partitions of a table. */
async function lockPartitions(knex: Knex, table: string): Promise<void> {
  await knex.raw('select pg_advisory_xact_lock(hashtext(?))', [table])
}

/** In one commit, so no row is ever missing. @returns whether a partition was old. */
async function detachOldest(
  trx: Knex.Transaction,
  { table, kept }: Partitioned,
  days: number,
): Promise<boolean> {
  await lockPartitions(trx, table)
  const partition = await findOldest(trx, table, days)
  if (partition === null) return false
  await trx.raw(`
    alter table ${table} detach partition ${partition};
    alter table ${partition} no force row level security;
    insert into ${table} select * from ${partition} where ${kept};
    truncate ${partition};
    alter table ${partition} force row level security;
    ${markDetached(partition)}
  `)
  return true
}

const DETACHED = 'A detached partition that will be dropped'

/** SQL that lets `dropDetached` drop a table. A partition that a person detached to keep it has no such comment. */
export const markDetached = (table: string) => `comment on table ${table} is '${DETACHED}';`

/**
 * Drops a partition that was detached. To drop it together with its detachment would lock the table and then those that
 * its foreign keys refer to, while requests read these and then write to the table.
 *
 * @returns its name, or null if there is none.
 */
export async function dropDetached(knex: Knex, table: string): Promise<string | null> {
  await lockPartitions(knex, table)
  const { rows } = await knex.raw<{ rows: { name: string }[] }>(
    `select c.oid::regclass::text as name from pg_class c
     where c.oid::regclass::text ~ ? and c.relkind = 'r' and not c.relispartition
       and obj_description(c.oid, 'pg_class') = ?
     order by 1 limit 1`,
    [`^${table}_(until_)?[0-9]{4}_[0-9]{2}$`, DETACHED],
  )
  const [detached] = rows
  if (detached === undefined) return null
  await knex.raw(`drop table if exists ${detached.name}`)
  return detached.name
}

/** The age of a partition is that of the date in its name: the first day of its month, or the end of `…_until_…`. */
async function findOldest(
  trx: Knex.Transaction,
  table: string,
  days: number,
): Promise<string | null> {
  const { rows } = await trx.raw<{ rows: { name: string }[] }>(
    `select inhrelid::regclass::text as name from pg_inherits
     where inhparent = ?::regclass and inhrelid::regclass::text ~ '_[0-9]{4}_[0-9]{2}$'
       and to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') < (now() at time zone 'UTC')::date - ?::integer
     order by 1 limit 1`,
    [table, days],
  )
  return rows[0]?.name ?? null
}
