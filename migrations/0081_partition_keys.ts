import type { Knex } from 'knex'

type Table = { table: string; column: string }

/** The tables that the next migration divides by month, and the time that places a row. */
export const PARTITIONED: readonly Table[] = [
  { table: 'stripe_events', column: 'created_at_stripe' },
  { table: 'webhook_deliveries', column: 'created_at' },
]

const MONTHS_UNTIL = 2

/** Not in one transaction: each lock lasts as long as its statement. */
export const config = { transaction: false }

/**
 * Prepares existing rows to become one partition. It ends two months from now, so rows that are written meanwhile
 * belong to it. The check of its bound does not lock the table; its unique index makes writers wait (docs/scaling.md). Built
 * `concurrently`, it would wait for every process that waits for this migration.
 *
 * Upgrade: Stripe repeats the events that cannot be stored meanwhile.
 */
export async function up(knex: Knex): Promise<void> {
  for (const { table, column } of PARTITIONED) {
    const bound = await boundOf(knex)
    const [name, index] = [`${table}_until_${bound.name}`, `${table}_until_${bound.name}_pkey`]
    // A run that crashed in an earlier month has left its bound, which rows of today do not meet.
    await removeBounds(knex, table, name)
    const isRepeated = await exists(knex, `${table}_default`)
    // Several statements in one text are one transaction.
    await knex.raw(`
      select set_config('app.system_task', 'migrate', true);
      ${isRepeated ? rowsBack(table, `${column} < '${bound.at}'`) : newTable(table)}
      -- Stripe's test clocks make events of the future.
      with moved as (delete from ${table} where ${column} >= '${bound.at}' returning *)
      insert into ${table}_default select * from moved;
      alter table ${table} drop constraint if exists ${name};
      alter table ${table} add constraint ${name} check (${column} < '${bound.at}') not valid;
    `)
    await knex.raw(`alter table ${table} validate constraint ${name}`)
    await knex.raw(
      `create unique index if not exists ${index} on ${table} (conference_id, id, ${column})`,
    )
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const { table } of PARTITIONED) {
    await removeBounds(knex, table)
    await knex.raw(`drop table if exists ${table}_default`)
  }
}

/** Drops what `up` prepared for other bounds than this one. */
async function removeBounds(knex: Knex, table: string, but = ''): Promise<void> {
  const { rows } = await knex.raw<{ rows: { name: string }[] }>(
    `select conname as name from pg_constraint
     where conrelid = ?::regclass and conname like ? and conname <> ?`,
    [table, `${table}_until_%`, but],
  )
  for (const { name } of rows) {
    await knex.raw(`
      alter table ${table} drop constraint ${name};
      drop index if exists ${name}_pkey;
    `)
  }
}

/** SQL for a table like it. */
const newTable = (table: string) =>
  `create table ${table}_default (like ${table} including defaults including constraints including storage);`

/** SQL that returns the rows which an earlier bound moved. Stripe may have sent them again since. */
const rowsBack = (table: string, belong: string) => `
      with back as (delete from ${table}_default where ${belong} returning *)
      insert into ${table} select * from back on conflict do nothing;`

/** After a crash, rows may be there. */
async function exists(knex: Knex, table: string): Promise<boolean> {
  const { rows } = await knex.raw<{ rows: { found: boolean }[] }>(
    'select to_regclass(?) is not null as found',
    [table],
  )
  return rows[0]?.found === true
}

async function boundOf(knex: Knex): Promise<{ name: string; at: string }> {
  const { rows } = await knex.raw<{ rows: { name: string; at: string }[] }>(
    `select to_char(m, 'YYYY_MM') as name, to_char(m, 'YYYY-MM-DD') || ' 00:00:00+00' as at
     from (select date_trunc('month', now() at time zone 'UTC') + make_interval(months => ?) as m) as bound`,
    [MONTHS_UNTIL],
  )
  const [bound] = rows
  if (bound === undefined) throw new Error('Postgres returned no month')
  return bound
}
