import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * One row for each payment attempt, with all request parameters frozen. So a repeat after a
 * crash sends Stripe the same request under the same idempotency key.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table checkout_attempts (
      conference_id text not null,
      purchase_id text not null,
      attempt integer not null,
      state text not null default 'creating',
      params jsonb not null,
      session_id text,
      url text,
      expires_at timestamptz,
      payment_intent_id text,
      payment text not null default 'none',
      decline text,
      refusal text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, purchase_id, attempt),
      constraint checkout_attempts_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint checkout_attempts_session_key unique (conference_id, session_id),
      constraint checkout_attempts_state_known
        check (state in ('creating', 'open', 'complete', 'expired', 'refused')),
      constraint checkout_attempts_payment_known
        check (payment in ('none', 'pending', 'paid', 'failed')),
      constraint checkout_attempts_attempt_range check (attempt >= 1),
      constraint checkout_attempts_session_whole check (state in ('creating', 'refused') or session_id is not null)
    );
    -- At most one payable attempt per purchase: the second of two parallel calls fails here.
    create unique index checkout_attempts_one_open
      on checkout_attempts (conference_id, purchase_id) where state in ('creating', 'open');
    create index checkout_attempts_by_payment_intent
      on checkout_attempts (conference_id, payment_intent_id);
    create index checkout_attempts_without_session on checkout_attempts (created_at)
      where state = 'creating';
  `)
  await protectByConference(knex, 'checkout_attempts')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table checkout_attempts;`)
}
