import type { Knex } from 'knex'

/** Lets Postgres know how few days there are, so that reports by day sort no purchases. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create statistics bulk_purchases_days on (cast(created_at at time zone 'utc' as date)), status
      from bulk_purchases;
    analyze bulk_purchases;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop statistics bulk_purchases_days')
}
