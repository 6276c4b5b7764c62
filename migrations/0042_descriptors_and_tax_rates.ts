import type { Knex } from 'knex'

/** What payers read on their statements, for each plan, and the tax rates of a subscription. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table billing_plans
      add column statement_descriptor text,
      add constraint billing_plans_descriptor_length
        check (char_length(statement_descriptor) between 1 and 22);
    alter table subscriptions
      -- Stripe's ids, as last requested.
      add column tax_rates text[] not null default '{}';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table subscriptions drop column tax_rates;
    alter table billing_plans drop column statement_descriptor;
  `)
}
