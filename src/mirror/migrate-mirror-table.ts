import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { protectByConference } from '../db/tenant-scope.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'
import { quoted } from './write-mirror-rows.ts'

type TableShape = Pick<StripeResource, 'name' | 'columns' | 'views'>

const viewOf = (name: string) => `stripe.${name}`

// Lists are ordered by `created`; for an object that was never fetched it is the epoch. There is no
// foreign key to the conference: it would add a third to the cost of every page, and conferences are
// never deleted.
function createTable(table: string): string {
  const name = table.replace('stripe.', '')
  return `
    create table if not exists ${table} (
      conference_id text not null,
      id text not null,
      created timestamptz not null default 'epoch',
      livemode boolean,
      metadata jsonb,
      data jsonb not null,
      as_of timestamptz not null,
      deleted_at timestamptz,
      primary key (conference_id, id)
    );
    create index if not exists ${name}_newest on ${table} (conference_id, created desc, id desc);`
}

function addColumns({ name, columns }: TableShape): string {
  const table = tableOf({ name })
  const short = table.replace('stripe.', '')
  return Object.entries(columns)
    .map(([column, { type, indexed }]) => {
      const add = `alter table ${table} add column if not exists ${quoted(column)} ${type};`
      if (!indexed) return add
      return `${add}
        create index if not exists ${short}_by_${column}
          on ${table} (conference_id, ${quoted(column)}) where ${quoted(column)} is not null;`
    })
    .join('\n')
}

// `security_invoker`: row security applies to the reader of the view, not to its owner.
//
// Somebody may have built views on this one. Postgres can replace a view only if its columns stay, and
// drop it only if nothing depends on it. Otherwise the old view gets another name: what was built on it
// continues to work, because dependencies do not follow names and no release drops a column.
function createViews({ name, views = {} }: TableShape): string {
  return Object.entries(views)
    .map(([view, select]) => {
      const definition = `view ${viewOf(view)} with (security_invoker = true) as
          with mirror as (select * from ${tableOf({ name })}) ${select}`
      return `
        do $migration$ begin
          create or replace ${definition};
        exception when invalid_table_definition then
          begin
            drop view ${viewOf(view)};
          exception when dependent_objects_still_exist then
            alter view ${viewOf(view)} rename to ${view}_before_${digestOf(select)};
          end;
          create ${definition};
        end $migration$;`
    })
    .join('\n')
}

const digestOf = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 12)

// What was erased here still exists at Stripe, and must not return with the next sync.
function addRedaction(table: string): string {
  const name = table.replace('stripe.', '')
  return `
    create or replace trigger ${name}_redact before insert or update on ${table}
      for each row execute function redact_mirror_row();`
}

function definitionOf(shape: TableShape): string {
  const table = tableOf(shape)
  return createTable(table) + addColumns(shape) + addRedaction(table) + createViews(shape)
}

/**
 * A name for the shape of a table, which changes with its columns, indexes and views. The migration with
 * this name updates any older shape, because shapes only grow.
 */
export function shapeName(shape: TableShape): string {
  return `${shape.name}_${digestOf(definitionOf(shape))}`
}

/**
 * Creates the table of a resource, or adds missing columns and indexes, and recreates its views. Never
 * drops or changes a column, because an older release can still be running. To change the type of a
 * column, write a numbered migration.
 */
export async function migrateMirrorTable(knex: Knex, shape: TableShape): Promise<void> {
  const table = tableOf(shape)
  const { rows } = await knex.raw<{ rows: { isNew: boolean }[] }>(
    `select to_regclass(?) is null as "isNew"`,
    [table],
  )
  await knex.raw(definitionOf(shape))
  if (rows[0]?.isNew === true) await protectByConference(knex, table)
}

/** Drops the table and its views. For the down migration. */
export async function dropMirrorTable(knex: Knex, shape: TableShape): Promise<void> {
  await knex.raw(`drop table if exists ${tableOf(shape)} cascade;`)
}
