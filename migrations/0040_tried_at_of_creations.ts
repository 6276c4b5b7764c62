import type { Knex } from 'knex'

/**
 * When a request to make the object was sent to Stripe. A run that finds it set first asks Stripe whether
 * the object exists. `subscriptions` has the column already.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table billing_plans add column tried_at timestamptz;
    alter table customers add column tried_at timestamptz;
    alter table published_vouchers add column tried_at timestamptz;
    alter table discount_changes
      add column tried_at timestamptz,
      -- Part of the idempotency key of the request to Stripe.
      add column attempt integer not null default 1;
    select set_config('app.system_task', 'migrate', true);
    -- The release before this one did not note its requests, so what it left unfinished may have been sent.
    update billing_plans set tried_at = updated_at where state = 'requested';
    update customers set tried_at = updated_at where stripe_customer_id is null;
    update published_vouchers set tried_at = updated_at
      where promotion_code_id is null and error is null;
    update discount_changes set tried_at = updated_at where state = 'requested';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table discount_changes drop column tried_at, drop column attempt;
    alter table published_vouchers drop column tried_at;
    alter table customers drop column tried_at;
    alter table billing_plans drop column tried_at;
  `)
}
