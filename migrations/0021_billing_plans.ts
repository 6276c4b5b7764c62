import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * Plans: what was requested at Stripe, and the ids of the result. Name, metadata and whether it is
 * active are those of the mirrored product. The terms of a plan never change.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table billing_plans (
      conference_id text not null references conferences (id),
      id text not null,
      name text not null,
      amount bigint not null,
      currency text not null,
      interval text not null,
      interval_count integer not null,
      trial_period_days integer not null,
      metadata jsonb not null,
      state text not null default 'requested',
      -- Part of the idempotency key of the request to Stripe.
      attempt integer not null default 1,
      product_id text,
      price_id text,
      refusal text,
      created_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint billing_plans_product_key unique (conference_id, product_id),
      constraint billing_plans_price_key unique (conference_id, price_id),
      constraint billing_plans_amount check (amount >= 0),
      constraint billing_plans_trial check (trial_period_days between 0 and 730),
      -- Three years, in each interval.
      constraint billing_plans_interval check (
        interval_count >= 1 and interval_count <= case interval
          when 'day' then 1095 when 'week' then 156 when 'month' then 36 when 'year' then 3 else 0
        end
      ),
      constraint billing_plans_state_known check (state in ('requested', 'created', 'refused')),
      constraint billing_plans_created_has_ids check (
        (state = 'created') = (product_id is not null)
        and (product_id is null) = (price_id is null)
      ),
      constraint billing_plans_refused_has_reason check ((state = 'refused') = (refusal is not null))
    );
    create index billing_plans_newest on billing_plans (conference_id, created_at desc, id desc);
  `)
  await protectByConference(knex, 'billing_plans')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table billing_plans;`)
}
