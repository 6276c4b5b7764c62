import type { Knex } from 'knex'

/** For the sweep, which looks for unfinished work every half minute at most. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index billing_plans_unfinished on billing_plans (updated_at) where state = 'requested';
    create index subscriptions_unfinished on subscriptions (updated_at) where state = 'requested';
    create index discount_changes_unfinished on discount_changes (updated_at)
      where state = 'requested';
    create index customers_unfinished on customers (updated_at)
      where stripe_customer_id is null and tried_at is not null;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index customers_unfinished;
    drop index discount_changes_unfinished;
    drop index subscriptions_unfinished;
    drop index billing_plans_unfinished;
  `)
}
