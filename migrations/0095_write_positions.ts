import type { Knex } from 'knex'

/**
 * The position in the write-ahead log that contains the last writes of a caller, for reads from a replica. Unlogged:
 * a write to it costs no log and does not wait for the disk. A crash and a promotion empty it, which the row
 * without a writer shows (src/db/write-positions.ts).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create unlogged table write_positions (
      writer text primary key,
      position pg_lsn not null,
      noted_at timestamptz not null default now()
    );
    insert into write_positions (writer, position, noted_at) values ('', '0/0', 'epoch');
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table write_positions;')
}
