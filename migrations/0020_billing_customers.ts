import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * A sponsor's customer at Stripe. The row is inserted first, with the idempotency key and all parameters
 * of the request, so that any number of callers create one customer.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table customers (
      conference_id text not null references conferences (id),
      id text not null,
      sponsor_id text not null,
      params jsonb not null,
      idempotency_key text not null,
      -- Number of creations at Stripe for this row. It is part of the idempotency key.
      generation integer not null default 1,
      stripe_customer_id text,
      created_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint customers_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint customers_sponsor_key unique (conference_id, sponsor_id),
      constraint customers_stripe_customer_key unique (conference_id, stripe_customer_id),
      constraint customers_idempotency_key_key unique (conference_id, idempotency_key),
      constraint customers_generation_range check (generation >= 1),
      constraint customers_stripe_customer_shape check (stripe_customer_id <> '')
    );
    create index customers_newest on customers (conference_id, created_at desc, id desc);
  `)
  await protectByConference(knex, 'customers')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table customers;`)
}
