import type { Knex } from 'knex'

/** Finds pending deliveries whose job was used up. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index webhook_deliveries_due on webhook_deliveries (next_attempt_at)
      where state = 'pending';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop index webhook_deliveries_due;`)
}
