import type { Knex } from 'knex'

/** The caller's own entries, which go to Stripe with each payment of the charge. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`alter table charges add column metadata jsonb not null default '{}'`)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table charges drop column metadata')
}
