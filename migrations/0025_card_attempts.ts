import type { Knex } from 'knex'

/** A payment attempt of a purchase may also be a saved card. Then it has an intent and no session. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table checkout_attempts
      add column kind text not null default 'checkout',
      add column payment_method text,
      add column confirms integer not null default 0,
      drop constraint checkout_attempts_session_whole,
      add constraint checkout_attempts_kind_known check (kind in ('checkout', 'payment_intent')),
      add constraint checkout_attempts_session_whole check (state in ('creating', 'refused')
        or case kind when 'checkout' then session_id is not null
          -- An attempt that ended before its intent was recorded. That intent can never be confirmed.
          else payment_intent_id is not null or state = 'expired' end);
    create index checkout_attempts_card_under_way on checkout_attempts (created_at)
      where kind = 'payment_intent' and state = 'open';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index checkout_attempts_card_under_way;
    -- The earlier schema does not support them. Row security would hide them from the deletion.
    select set_config('app.system_task', 'migrate', true);
    delete from checkout_attempts where kind = 'payment_intent';
    alter table checkout_attempts
      drop constraint checkout_attempts_session_whole,
      add constraint checkout_attempts_session_whole
        check (state in ('creating', 'refused') or session_id is not null),
      drop column kind,
      drop column payment_method,
      drop column confirms;
  `)
}
