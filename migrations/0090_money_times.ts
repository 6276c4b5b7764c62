import type { Knex } from 'knex'

/**
 * When a payment was received, a refund succeeded and a dispute was lost. `updated_at` says it only until the
 * row changes again, such as when the refund fails later: a statement of past days must stay the same.
 *
 * Upgrade: requests for payments wait for the updates. A conference has some thousands of payments, so not for long.
 *
 * Null although it happened: a process of the previous release wrote the row. Readers take `updated_at` then.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table payments add column received_at timestamptz;
    alter table payment_refunds add column succeeded_at timestamptz;
    alter table payment_disputes add column lost_at timestamptz;
    -- Row security would hide the rows.
    select set_config('app.system_task', 'migrate', true);
    update payments set received_at = updated_at where amount_received > 0;
    update payment_refunds set succeeded_at = updated_at where status = 'succeeded';
    update payment_disputes set lost_at = updated_at where status = 'lost';
    select set_config('app.system_task', '', true);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table payment_disputes drop column lost_at;
    alter table payment_refunds drop column succeeded_at;
    alter table payments drop column received_at;
  `)
}
