import type { Knex } from 'knex'

/** One encrypted value, by which a process finds at its start whether ENCRYPTION_KEY is the right one. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table encryption_check (
      only_row boolean primary key default true check (only_row),
      value_sealed text not null
    );
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table encryption_check;`)
}
