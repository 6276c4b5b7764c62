import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

const CATALOG_TABLES = ['ticket_types', 'add_ons']

export async function up(knex: Knex): Promise<void> {
  for (const table of CATALOG_TABLES) {
    await knex.raw(`
      create table ${table} (
        conference_id text not null references conferences (id),
        id text not null,
        name text not null,
        description text,
        price bigint not null,
        bulk_enabled boolean not null default false,
        active_from timestamptz,
        active_until timestamptz,
        voucher_defaults jsonb not null default '{}',
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        primary key (conference_id, id),
        constraint ${table}_name_key unique (conference_id, name),
        constraint ${table}_price_range check (price between 0 and 99999999),
        constraint ${table}_window_order check (active_until > active_from)
      );
      create index ${table}_newest on ${table} (conference_id, created_at desc, id desc);
    `)
    await protectByConference(knex, table)
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const table of CATALOG_TABLES.toReversed()) await knex.raw(`drop table ${table};`)
}
