import type { Knex } from 'knex'
import { createChargePayments } from './0024_charges.ts'

/**
 * Moves the attempts and refunds of charges to the tables that purchases use (0029): both are paid by the
 * same flows.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Row security would hide the rows to copy.
    select set_config('app.system_task', 'migrate', true);

    insert into payment_attempts (conference_id, charge_id, attempt, kind, state, params, session_id, url,
        expires_at, payment_intent_id, payment_method, confirms, failure_code, failure_message,
        requested_by, created_at, updated_at)
      select a.conference_id, a.charge_id, a.attempt,
        case a.kind when 'payment_intent' then 'saved_card' else a.kind end,
        case a.state when 'unconfirmed' then 'open' when 'confirming' then 'open'
          when 'declined' then 'failed' when 'succeeded' then 'paid'
          when 'canceled' then case when a.failure_code is null then 'cancelled' else 'failed' end
          else a.state end,
        jsonb_build_object('description', c.description, 'currency', c.currency, 'sponsorId', c.sponsor_id,
          'statementDescriptorSuffix', c.statement_descriptor_suffix) || case a.kind
          when 'checkout' then jsonb_build_object('quantity', 1, 'unitAmount', c.amount,
            'successUrl', a.params -> 'urls' ->> 'successUrl', 'cancelUrl', a.params -> 'urls' ->> 'cancelUrl',
            'contactEmail', null, 'expiresAt', null, 'invoiceCreation', false, 'taxIdCollection', false)
          else jsonb_build_object('amount', c.amount, 'named', a.params ->> 'paymentMethod') end,
        a.session_id, a.url, a.expires_at, a.payment_intent_id, a.payment_method, a.confirms,
        a.failure_code,
        case when a.failure_code is not null then coalesce(a.failure_message, a.failure_code) end,
        a.requested_by, a.created_at, a.updated_at
      from charge_attempts a join charges c on c.conference_id = a.conference_id and c.id = a.charge_id;

    -- The next snapshot corrects a status that the old tables did not store.
    insert into payments (conference_id, charge_id, payment_intent_id, attempt, status, amount,
        amount_received, currency, seen_at, updated_at)
      select a.conference_id, a.charge_id, a.payment_intent_id, a.attempt,
        case when a.state in ('succeeded', 'processing', 'canceled') then a.state
          when a.state in ('unconfirmed', 'confirming') then 'requires_confirmation'
          else 'requires_payment_method' end,
        c.amount, case a.state when 'succeeded' then c.amount_received else 0 end, c.currency,
        a.created_at, a.updated_at
      from charge_attempts a join charges c on c.conference_id = a.conference_id and c.id = a.charge_id
      where a.payment_intent_id is not null;

    insert into payment_refunds (conference_id, charge_id, id, payment_intent_id, status, amount, currency,
        seen_at, updated_at)
      select r.conference_id, r.charge_id, r.id, r.payment_intent_id, r.status, r.amount, c.currency,
        r.updated_at, r.updated_at
      from charge_refunds r join charges c on c.conference_id = r.conference_id and c.id = r.charge_id;

    insert into refund_requests (conference_id, charge_id, id, payment_intent_id, amount, reason, state,
        refund_id, refusal, requested_by, created_at, updated_at)
      select conference_id, charge_id, id, payment_intent_id, amount, reason, state, refund_id, refusal,
        requested_by, created_at, updated_at from charge_refund_requests;

    drop table charge_refund_requests, charge_refunds, charge_attempts;
  `)
}

/** Restores the tables of charges (0024). They knew no disputes. */
export async function down(knex: Knex): Promise<void> {
  await createChargePayments(knex)
  await knex.raw(`
    select set_config('app.system_task', 'migrate', true);

    insert into charge_attempts (conference_id, charge_id, attempt, kind, state, params, idempotency_key,
        confirms, payment_method, payment_intent_id, session_id, url, expires_at, failure_code,
        failure_message, requested_by, created_at, updated_at)
      select conference_id, charge_id, attempt,
        case kind when 'saved_card' then 'payment_intent' else kind end,
        case when state = 'open' and kind = 'saved_card'
            then case confirms when 0 then 'unconfirmed' else 'confirming' end
          when state = 'paid' then 'succeeded' when state in ('failed', 'cancelled') then 'canceled'
          else state end,
        case kind when 'checkout' then jsonb_build_object('kind', 'checkout', 'urls', jsonb_build_object(
            'successUrl', params ->> 'successUrl', 'cancelUrl', params ->> 'cancelUrl'))
          else jsonb_build_object('kind', 'payment_intent', 'paymentMethod', params ->> 'named') end,
        'charge:' || charge_id || ':' || attempt, confirms, payment_method, payment_intent_id, session_id,
        url, expires_at,
        -- A failure of a cancelled attempt would count as a decline there.
        case state when 'cancelled' then null else failure_code end,
        case state when 'cancelled' then null else failure_message end,
        coalesce(requested_by, 'system'), created_at, updated_at
      from payment_attempts where charge_id is not null;
    insert into charge_refunds (conference_id, charge_id, id, payment_intent_id, status, amount, updated_at)
      select conference_id, charge_id, id, payment_intent_id, status, amount, updated_at
      from payment_refunds where charge_id is not null;
    insert into charge_refund_requests (conference_id, charge_id, id, payment_intent_id, amount, reason,
        state, refund_id, refusal, requested_by, created_at, updated_at)
      select conference_id, charge_id, id, payment_intent_id, amount, reason, state, refund_id, refusal,
        requested_by, created_at, updated_at from refund_requests where charge_id is not null;

    delete from refund_requests where charge_id is not null;
    delete from payment_disputes where charge_id is not null;
    delete from payment_refunds where charge_id is not null;
    delete from payments where charge_id is not null;
    delete from payment_attempts where charge_id is not null;
  `)
}
