import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** The money of a purchase as last fetched from Stripe, never a sum of our own. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table purchase_payments (
      conference_id text not null,
      purchase_id text not null,
      payment_intent_id text not null,
      attempt integer,
      status text not null,
      amount bigint not null,
      amount_received bigint not null,
      currency text not null,
      seen_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, payment_intent_id),
      constraint purchase_payments_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint purchase_payments_amounts check (amount >= 0 and amount_received >= 0)
    );
    create index purchase_payments_by_purchase on purchase_payments (conference_id, purchase_id);

    create table purchase_refunds (
      conference_id text not null,
      purchase_id text not null,
      id text not null,
      payment_intent_id text not null,
      status text not null,
      amount bigint not null,
      currency text not null,
      reason text,
      failure_reason text,
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint purchase_refunds_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint purchase_refunds_amount check (amount >= 0)
    );
    create index purchase_refunds_by_purchase on purchase_refunds (conference_id, purchase_id);

    create table purchase_disputes (
      conference_id text not null,
      purchase_id text not null,
      id text not null,
      payment_intent_id text not null,
      status text not null,
      amount bigint not null,
      currency text not null,
      reason text,
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint purchase_disputes_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint purchase_disputes_amount check (amount >= 0)
    );
    create index purchase_disputes_by_purchase on purchase_disputes (conference_id, purchase_id);

    create table refund_requests (
      conference_id text not null,
      purchase_id text not null,
      id text not null,
      payment_intent_id text not null,
      amount bigint not null,
      reason text,
      state text not null default 'requested',
      refund_id text,
      refusal text,
      requested_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint refund_requests_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint refund_requests_state_known check (state in ('requested', 'accepted', 'refused')),
      constraint refund_requests_accepted_has_refund check ((state = 'accepted') = (refund_id is not null)),
      constraint refund_requests_amount check (amount > 0)
    );
    create index refund_requests_by_purchase on refund_requests (conference_id, purchase_id);
    create index refund_requests_unanswered on refund_requests (created_at) where state = 'requested';
  `)
  for (const table of [
    'purchase_payments',
    'purchase_refunds',
    'purchase_disputes',
    'refund_requests',
  ]) {
    await protectByConference(knex, table)
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table refund_requests;
    drop table purchase_disputes;
    drop table purchase_refunds;
    drop table purchase_payments;
  `)
}
