import type { Knex } from 'knex'

/**
 * When the hooks of an event had finished, so that another attempt, or the mirror, does not call
 * them again; and when the operators last got a mail about missing events of a conference.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table stripe_events add column hooked_at timestamptz;
    alter table conferences add column events_alarmed_at timestamptz;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences drop column events_alarmed_at;
    alter table stripe_events drop column hooked_at;
  `)
}
