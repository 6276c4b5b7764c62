import type { Knex } from 'knex'

/**
 * The oldest release that can use this schema. A breaking migration raises it. Until then, old
 * and new processes can use one database at the same time.
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
