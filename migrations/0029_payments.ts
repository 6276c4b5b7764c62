import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'
import { up as createCheckoutAttempts } from './0006_checkout_attempts.ts'
import { up as createPurchasePayments } from './0007_purchase_payments.ts'
import { up as allowSavedCards } from './0025_card_attempts.ts'

const TABLES = [
  'payment_attempts',
  'payments',
  'payment_refunds',
  'payment_disputes',
  'refund_requests',
] as const

/** What is paid: exactly one of a purchase and a charge. */
const owner = (table: string) => `
      purchase_id text,
      charge_id text,
      owner_id text not null generated always as (coalesce(purchase_id, charge_id)) stored,
      constraint ${table}_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint ${table}_charge_fkey foreign key (conference_id, charge_id)
        references charges (conference_id, id),
      constraint ${table}_one_owner check (num_nonnulls(purchase_id, charge_id) = 1),`

/**
 * Payments get tables of their own, for purchases and charges alike, because they share the rules: one
 * payable attempt at a time, one row for each payment, refund and dispute at Stripe. Those of
 * charges move in a migration of their own.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Row security would hide the rows to copy.
    select set_config('app.system_task', 'migrate', true);
    alter table refund_requests rename to purchase_refund_requests;
    alter table purchase_refund_requests rename constraint refund_requests_pkey to purchase_refund_requests_pkey;
    alter index refund_requests_unanswered rename to purchase_refund_requests_unanswered;

    create table payment_attempts (
      conference_id text not null,${owner('payment_attempts')}
      attempt integer not null,
      kind text not null default 'checkout',
      state text not null default 'creating',
      params jsonb not null,
      session_id text,
      url text,
      expires_at timestamptz,
      payment_intent_id text,
      payment_method text,
      confirms integer not null default 0,
      decline text,
      failure_code text,
      failure_message text,
      requested_by text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, owner_id, attempt),
      constraint payment_attempts_session_key unique (conference_id, session_id),
      constraint payment_attempts_kind_known check (kind in ('checkout', 'saved_card')),
      constraint payment_attempts_state_known check (state in
        ('creating', 'open', 'processing', 'paid', 'failed', 'expired', 'cancelled', 'refused')),
      constraint payment_attempts_attempt_range check (attempt >= 1),
      constraint payment_attempts_failure_whole
        check ((failure_code is null) = (failure_message is null)),
      -- An attempt may end before its session or intent was stored. Then nothing can pay it.
      constraint payment_attempts_open_whole check (state not in ('open', 'processing')
        or case kind when 'checkout' then session_id is not null else payment_intent_id is not null end)
    );
    -- At most one payable attempt: the second of two parallel requests fails here.
    create unique index payment_attempts_one_payable
      on payment_attempts (conference_id, owner_id) where state in ('creating', 'open');
    create index payment_attempts_by_payment_intent
      on payment_attempts (conference_id, payment_intent_id);
    create index payment_attempts_unfinished on payment_attempts (created_at)
      where state in ('creating', 'open', 'processing');

    create table payments (
      conference_id text not null,${owner('payments')}
      payment_intent_id text not null,
      attempt integer,
      status text not null,
      amount bigint not null,
      amount_received bigint not null,
      currency text not null,
      seen_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, payment_intent_id),
      constraint payments_amounts check (amount >= 0 and amount_received >= 0)
    );
    create index payments_by_owner on payments (conference_id, owner_id);

    create table payment_refunds (
      conference_id text not null,${owner('payment_refunds')}
      id text not null,
      payment_intent_id text not null,
      status text not null,
      amount bigint not null,
      currency text not null,
      reason text,
      failure_reason text,
      seen_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint payment_refunds_amount check (amount >= 0)
    );
    create index payment_refunds_by_owner on payment_refunds (conference_id, owner_id);

    create table payment_disputes (
      conference_id text not null,${owner('payment_disputes')}
      id text not null,
      payment_intent_id text not null,
      status text not null,
      amount bigint not null,
      currency text not null,
      reason text,
      seen_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint payment_disputes_amount check (amount >= 0)
    );
    create index payment_disputes_by_owner on payment_disputes (conference_id, owner_id);

    create table refund_requests (
      conference_id text not null,${owner('refund_requests')}
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
      constraint refund_requests_state_known check (state in ('requested', 'accepted', 'refused')),
      constraint refund_requests_accepted_has_refund check ((state = 'accepted') = (refund_id is not null)),
      constraint refund_requests_amount check (amount > 0)
    );
    create index refund_requests_by_owner on refund_requests (conference_id, owner_id);
    create index refund_requests_unanswered on refund_requests (created_at) where state = 'requested';

    insert into payment_attempts (conference_id, purchase_id, attempt, kind, state, params, session_id, url,
        expires_at, payment_intent_id, payment_method, confirms, decline, failure_code, failure_message,
        created_at, updated_at)
      select conference_id, purchase_id, attempt,
        case kind when 'payment_intent' then 'saved_card' else kind end,
        case when payment = 'paid' then 'paid' when payment = 'failed' then 'failed'
             when payment = 'pending' or state = 'complete' then 'processing' else state end,
        params, session_id, url, expires_at, payment_intent_id, payment_method, confirms, decline,
        case state when 'refused' then 'stripe_refused' end,
        case state when 'refused' then coalesce(refusal, 'Stripe refused the request.') end,
        created_at, updated_at
      from checkout_attempts;

    insert into payments (conference_id, purchase_id, payment_intent_id, attempt, status, amount,
        amount_received, currency, seen_at, updated_at)
      select conference_id, purchase_id, payment_intent_id, attempt, status, amount, amount_received,
        currency, seen_at, updated_at from purchase_payments;
    insert into payment_refunds (conference_id, purchase_id, id, payment_intent_id, status, amount, currency,
        reason, failure_reason, updated_at)
      select conference_id, purchase_id, id, payment_intent_id, status, amount, currency, reason,
        failure_reason, updated_at from purchase_refunds;
    insert into payment_disputes (conference_id, purchase_id, id, payment_intent_id, status, amount, currency,
        reason, updated_at)
      select conference_id, purchase_id, id, payment_intent_id, status, amount, currency, reason, updated_at
      from purchase_disputes;

    insert into refund_requests (conference_id, purchase_id, id, payment_intent_id, amount, reason, state,
        refund_id, refusal, requested_by, created_at, updated_at)
      select conference_id, purchase_id, id, payment_intent_id, amount, reason, state, refund_id, refusal,
        requested_by, created_at, updated_at from purchase_refund_requests;
    drop table purchase_refund_requests, purchase_disputes, purchase_refunds, purchase_payments,
      checkout_attempts;
  `)
  for (const table of TABLES) await protectByConference(knex, table)
}

/** Restores the tables of purchases (0006, 0007, 0025). */
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table refund_requests rename to shared_refund_requests;
    alter table shared_refund_requests rename constraint refund_requests_pkey to shared_refund_requests_pkey;
    alter index refund_requests_unanswered rename to shared_refund_requests_unanswered;
  `)
  await createCheckoutAttempts(knex)
  await createPurchasePayments(knex)
  await allowSavedCards(knex)
  await knex.raw(COPY_BACK)
  await knex.raw(`
    drop table shared_refund_requests, payment_disputes, payment_refunds, payments, payment_attempts;
  `)
}

const COPY_BACK = `
  select set_config('app.system_task', 'migrate', true);
  -- The earlier schema knows no attempt that ended before its session was stored.
  insert into checkout_attempts (conference_id, purchase_id, attempt, kind, state, payment, params, session_id,
      url, expires_at, payment_intent_id, payment_method, confirms, decline, refusal, created_at, updated_at)
    select conference_id, purchase_id, attempt,
      case kind when 'saved_card' then 'payment_intent' else kind end,
      case when session_id is null and payment_intent_id is null and state <> 'creating' then 'refused'
        when state in ('processing', 'paid', 'failed') then 'complete'
        when state = 'cancelled' then 'expired' else state end,
      case state when 'processing' then 'pending' when 'paid' then 'paid' when 'failed' then 'failed'
        else 'none' end,
      params, session_id, url, expires_at, payment_intent_id, payment_method, confirms, decline,
      case state when 'refused' then failure_message end, created_at, updated_at
    from payment_attempts where purchase_id is not null;
  insert into purchase_payments (conference_id, purchase_id, payment_intent_id, attempt, status, amount,
      amount_received, currency, seen_at, updated_at)
    select conference_id, purchase_id, payment_intent_id, attempt, status, amount, amount_received, currency,
      seen_at, updated_at from payments where purchase_id is not null;
  insert into purchase_refunds (conference_id, purchase_id, id, payment_intent_id, status, amount, currency,
      reason, failure_reason, updated_at)
    select conference_id, purchase_id, id, payment_intent_id, status, amount, currency, reason,
      failure_reason, updated_at from payment_refunds where purchase_id is not null;
  insert into purchase_disputes (conference_id, purchase_id, id, payment_intent_id, status, amount, currency,
      reason, updated_at)
    select conference_id, purchase_id, id, payment_intent_id, status, amount, currency, reason, updated_at
    from payment_disputes where purchase_id is not null;
  insert into refund_requests (conference_id, purchase_id, id, payment_intent_id, amount, reason, state,
      refund_id, refusal, requested_by, created_at, updated_at)
    select conference_id, purchase_id, id, payment_intent_id, amount, reason, state, refund_id, refusal,
      requested_by, created_at, updated_at from shared_refund_requests where purchase_id is not null;
`
