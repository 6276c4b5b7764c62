import type { Knex } from 'knex'

/**
 * The oldest service that this schema still serves. A breaking migration raises it; until then old
 * and new processes run side by side on one database.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table schema_version (
      only_row boolean primary key default true check (only_row),
      minimum_service_schema integer not null
    );
    insert into schema_version (minimum_service_schema) values (1);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table schema_version;`)
}
