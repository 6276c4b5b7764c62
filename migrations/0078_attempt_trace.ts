import type { Knex } from 'knex'

/**
 * The trace in which an attempt was opened, as a W3C trace context, so that the event of its payment continues it.
 * Null: it was not traced.
 *
 * Upgrade: the check reads attempts whose new column is null, a second for some millions.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table payment_attempts
      add column traceparent text,
      add constraint payment_attempts_traceparent
        check (traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table payment_attempts drop column traceparent;')
}
