import type { Knex } from 'knex'

/** The search for missed events is claimed with a lease, because it must not hold a connection. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      add column events_check_id text,
      add column events_check_lease_until timestamptz,
      add constraint conferences_events_check_whole
        check ((events_check_id is null) = (events_check_lease_until is null));
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      drop column events_check_id,
      drop column events_check_lease_until;
  `)
}
