import type { Knex } from 'knex'

/**
 * Each table of tenants can tell its rows apart. Without that, logical replication refuses to update or delete
 * them, so Citus cannot move them to another node while they are written.
 *
 * Upgrade: sync_run_ids has rows only while a sync lists objects, and processes of the last release name its columns.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table sync_run_ids
      add column page bigint generated always as identity,
      add primary key (conference_id, run_id, page);
    drop index sync_run_ids_of_run;
    -- A key would cost each redemption an index entry. Equal rows may be told apart by any of them.
    alter table voucher_count_changes replica identity full;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table voucher_count_changes replica identity default;
    create index sync_run_ids_of_run on sync_run_ids (conference_id, run_id);
    alter table sync_run_ids drop column page;
  `)
}
