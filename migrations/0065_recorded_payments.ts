import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

const TABLES = ['recorded_payments', 'recorded_refunds'] as const

/**
 * Payments that came outside Stripe, and what was paid back of them. Both are append-only, like the history.
 * A purchase has at most one: only an unpaid purchase takes one.
 *
 * A trigger refuses to lower what a purchase has received below that. No code of this release does it, but
 * a process of the previous release does not know these tables.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table recorded_payments (
      conference_id text not null,
      purchase_id text not null,
      id text not null,
      amount bigint not null,
      currency text not null,
      method text not null,
      reference text not null,
      paid_at timestamptz not null,
      note text,
      recorded_by text not null,
      created_at timestamptz not null default now(),
      primary key (conference_id, purchase_id),
      constraint recorded_payments_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint recorded_payments_amount check (amount > 0),
      constraint recorded_payments_method_known
        check (method in ('bank_transfer', 'cheque', 'cash', 'other'))
    );
    create table recorded_refunds (
      conference_id text not null,
      purchase_id text not null,
      id text not null,
      amount bigint not null,
      reason text,
      recorded_by text not null,
      created_at timestamptz not null default clock_timestamp(),
      primary key (conference_id, purchase_id, id),
      -- Not to recorded_payments: the check of a foreign key locks the row, which that table's privileges refuse.
      constraint recorded_refunds_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint recorded_refunds_amount check (amount > 0)
    );
    -- Stripe knows nothing of a recorded payment.
    alter table refund_requests add constraint refund_requests_of_stripe
      check (payment_intent_id not like 'rp\\_%');

    create function keep_recorded_payment() returns trigger language plpgsql as $$
    declare
      recorded bigint;
    begin
      select amount into recorded from recorded_payments r
        where r.conference_id = new.conference_id and r.purchase_id = new.id;
      if new.amount_received < recorded then
        raise check_violation using table = 'bulk_purchases', constraint = 'bulk_purchases_keep_recorded',
          message = format('Purchase %s has a recorded payment of %s', new.id, recorded);
      end if;
      return new;
    end $$;
    create trigger bulk_purchases_keep_recorded before update of amount_received on bulk_purchases
      for each row when (new.amount_received < old.amount_received)
      execute function keep_recorded_payment();
  `)
  for (const table of TABLES) {
    await protectByConference(knex, table)
    await knex.raw(`revoke update, delete, truncate on ${table} from current_user;`)
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger bulk_purchases_keep_recorded on bulk_purchases;
    drop function keep_recorded_payment;
    alter table refund_requests drop constraint refund_requests_of_stripe;
    drop table recorded_refunds;
    drop table recorded_payments;
  `)
}
