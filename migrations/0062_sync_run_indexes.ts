import type { Knex } from 'knex'

/** Indexes for the lists of sync runs by resource and by state. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index sync_runs_by_resource on sync_runs (conference_id, resource, created_at desc, id desc);
    create index sync_runs_by_state on sync_runs (conference_id, state, created_at desc, id desc);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index sync_runs_by_resource; drop index sync_runs_by_state')
}
