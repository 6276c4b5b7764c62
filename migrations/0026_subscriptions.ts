import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * Subscriptions: what was requested at Stripe, and the id of the result. Status, periods and
 * cancellation are those of the mirrored subscription and have no columns here.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table subscriptions (
      conference_id text not null references conferences (id),
      id text not null,
      customer_id text not null,
      payment_method text,
      coupon text,
      trial_period_days integer not null,
      metadata jsonb not null,
      -- The end date, in UTC. From this day on, the subscription is cancelled.
      end_date date,
      state text not null default 'requested',
      -- Part of the idempotency key of the request to Stripe.
      attempt integer not null default 1,
      -- Set when Stripe was asked. A retry first checks whether the subscription exists.
      tried_at timestamptz,
      stripe_subscription_id text,
      refusal text,
      created_by text not null,
      cancel_requested_by text,
      cancel_requested_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint subscriptions_customer_fkey foreign key (conference_id, customer_id)
        references customers (conference_id, id),
      constraint subscriptions_stripe_key unique (conference_id, stripe_subscription_id),
      constraint subscriptions_trial check (trial_period_days between 0 and 730),
      constraint subscriptions_state_known check (state in ('requested', 'created', 'refused')),
      constraint subscriptions_created_has_id
        check ((state = 'created') = (stripe_subscription_id is not null)),
      constraint subscriptions_refused_has_reason check ((state = 'refused') = (refusal is not null)),
      constraint subscriptions_cancel_has_both
        check ((cancel_requested_by is null) = (cancel_requested_at is null))
    );
    create index subscriptions_newest on subscriptions (conference_id, created_at desc, id desc);
    create index subscriptions_by_customer on subscriptions (conference_id, customer_id);
    create index subscriptions_with_end on subscriptions (end_date) where end_date is not null;

    create table subscription_items (
      conference_id text not null,
      subscription_id text not null,
      ordinal integer not null,
      plan_id text not null,
      quantity integer not null,
      primary key (conference_id, subscription_id, ordinal),
      constraint subscription_items_subscription_fkey
        foreign key (conference_id, subscription_id) references subscriptions (conference_id, id),
      constraint subscription_items_plan_fkey foreign key (conference_id, plan_id)
        references billing_plans (conference_id, id),
      constraint subscription_items_plan_key unique (conference_id, subscription_id, plan_id),
      constraint subscription_items_quantity check (quantity >= 1)
    );
    create index subscription_items_by_plan on subscription_items (conference_id, plan_id);
  `)
  await protectByConference(knex, 'subscriptions')
  await protectByConference(knex, 'subscription_items')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table subscription_items; drop table subscriptions;`)
}
