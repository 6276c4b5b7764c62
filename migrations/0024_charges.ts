import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * Charges of saved cards, their payment attempts and their refunds. Sums are as last fetched from Stripe.
 * The checks below hold independently of the code.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table charges (
      conference_id text not null references conferences (id),
      id text not null,
      customer_id text not null,
      sponsor_id text not null,
      status text not null default 'open',
      amount bigint not null,
      currency text not null,
      description text not null,
      statement_descriptor_suffix text,
      comment text,
      source_reference text,
      manual boolean not null default false,
      payment_method text,
      success_url text,
      cancel_url text,
      amount_received bigint not null default 0,
      amount_refunded bigint not null default 0,
      -- Pending refunds, and requested refunds that no snapshot contains yet.
      amount_refunding bigint not null default 0,
      payment_intent_id text,
      failure_code text,
      failure_message text,
      reconcile_ticket bigint not null default 0,
      applied_ticket bigint not null default 0,
      reconciled_at timestamptz,
      created_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      succeeded_at timestamptz,
      primary key (conference_id, id),
      constraint charges_customer_fkey foreign key (conference_id, customer_id)
        references customers (conference_id, id),
      constraint charges_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint charges_source_reference_key unique (conference_id, source_reference),
      constraint charges_status_known check (status in
        ('open', 'processing', 'requires_action', 'declined', 'succeeded', 'refunded', 'canceled')),
      constraint charges_amount_range check (amount between 1 and 99999999),
      -- https://docs.stripe.com/get-started/account/statement-descriptors
      constraint charges_suffix_shape check (statement_descriptor_suffix ~ '^[ -~]{1,22}$'
        and statement_descriptor_suffix !~ '[<>\\\\''"*]'
        and statement_descriptor_suffix ~ '[A-Za-z]'),
      constraint charges_urls_whole check ((success_url is null) = (cancel_url is null)),
      constraint charges_sums_range check
        (amount_received >= 0 and amount_refunded >= 0 and amount_refunding >= 0),
      constraint charges_refunds_within_received
        check (amount_refunded + amount_refunding <= amount_received),
      constraint charges_paid_has_intent check
        (status not in ('succeeded', 'refunded') or payment_intent_id is not null),
      constraint charges_ticket_order check (applied_ticket <= reconcile_ticket)
    );
    create index charges_newest on charges (conference_id, created_at desc, id desc);
    create index charges_by_status on charges (conference_id, status, created_at desc, id desc);
    create index charges_by_sponsor on charges (conference_id, sponsor_id, created_at desc, id desc);
  `)
  await protectByConference(knex, 'charges')
  await createChargePayments(knex)
}

/** The tables of their attempts and refunds, until 0050. */
export async function createChargePayments(knex: Knex): Promise<void> {
  await knex.raw(`
    create table charge_attempts (
      conference_id text not null,
      charge_id text not null,
      attempt integer not null,
      kind text not null,
      state text not null default 'creating',
      params jsonb not null,
      idempotency_key text not null,
      confirms integer not null default 0,
      payment_method text,
      payment_intent_id text,
      session_id text,
      url text,
      expires_at timestamptz,
      failure_code text,
      failure_message text,
      requested_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, charge_id, attempt),
      constraint charge_attempts_charge_fkey foreign key (conference_id, charge_id)
        references charges (conference_id, id),
      constraint charge_attempts_intent_key unique (conference_id, payment_intent_id),
      constraint charge_attempts_session_key unique (conference_id, session_id),
      constraint charge_attempts_key_key unique (conference_id, idempotency_key),
      constraint charge_attempts_kind_known check (kind in ('payment_intent', 'checkout')),
      constraint charge_attempts_state_known check (state in ('creating', 'unconfirmed',
        'confirming', 'processing', 'open', 'declined', 'succeeded', 'canceled', 'expired', 'refused')),
      constraint charge_attempts_attempt_range check (attempt >= 1),
      constraint charge_attempts_intent_whole check
        (state not in ('unconfirmed', 'confirming', 'declined') or payment_intent_id is not null)
    );
    -- Only one attempt at a time can be payable, so at most one can succeed.
    create unique index charge_attempts_one_payable on charge_attempts (conference_id, charge_id)
      where state in ('creating', 'unconfirmed', 'confirming', 'processing', 'open', 'declined');
    create index charge_attempts_without_news on charge_attempts (updated_at)
      where state in ('confirming', 'processing', 'open');

    create table charge_refunds (
      conference_id text not null,
      charge_id text not null,
      id text not null,
      payment_intent_id text not null,
      status text not null,
      amount bigint not null,
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint charge_refunds_charge_fkey foreign key (conference_id, charge_id)
        references charges (conference_id, id),
      constraint charge_refunds_amount check (amount >= 0)
    );
    create index charge_refunds_by_charge on charge_refunds (conference_id, charge_id);

    create table charge_refund_requests (
      conference_id text not null,
      charge_id text not null,
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
      constraint charge_refund_requests_charge_fkey foreign key (conference_id, charge_id)
        references charges (conference_id, id),
      constraint charge_refund_requests_state_known
        check (state in ('requested', 'accepted', 'refused')),
      constraint charge_refund_requests_accepted_has_refund
        check ((state = 'accepted') = (refund_id is not null)),
      constraint charge_refund_requests_amount check (amount > 0)
    );
    create index charge_refund_requests_by_charge
      on charge_refund_requests (conference_id, charge_id);
    create index charge_refund_requests_unanswered on charge_refund_requests (created_at)
      where state = 'requested';
  `)
  for (const table of ['charge_attempts', 'charge_refunds', 'charge_refund_requests']) {
    await protectByConference(knex, table)
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table charge_refund_requests;
    drop table charge_refunds;
    drop table charge_attempts;
    drop table charges;
  `)
}
