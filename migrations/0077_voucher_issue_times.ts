import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** SQL for the function of the trigger. `column`: that of the movements which their key begins with. */
export const issueTimeFunction = (column: string) => `
    create or replace function voucher_batches_add_issue_time() returns trigger language plpgsql as $$
    begin
      insert into voucher_issue_times (conference_id, purchase_id, source, paid_at, issued_at)
      select m.conference_id, m.purchase_id, m.source, m.happened_at, clock_timestamp()
      from money_movements m
      where m.conference_id = new.conference_id and m.${column} = new.purchase_id
        and m.kind = 'payment' and m.amount > 0
      order by m.id desc limit 1
      on conflict do nothing;
      return null;
    end $$;`

/**
 * How long sponsors waited for the vouchers that they had paid for. A trigger writes it at the end of the
 * transaction that issues the vouchers, when all of them exist, with the payment before it. Free purchases
 * have none.
 *
 * For earlier payments by Stripe, only the time is known at which the service learned of them.
 *
 * Upgrade: changes of purchases wait until the rows of recorded payments are written.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- In the order of requests, which lock a purchase and then issue its vouchers.
    set local lock_timeout = '100ms';
    lock table bulk_purchases, voucher_batches in exclusive mode;
    create table voucher_issue_times (
      conference_id text not null,
      purchase_id text not null,
      -- Of the payment.
      source text not null,
      paid_at timestamptz not null,
      issued_at timestamptz not null,
      -- Of the payment.
      day date not null generated always as (cast(paid_at at time zone 'utc' as date)) stored,
      seconds integer not null generated always as
        (greatest(0, round(extract(epoch from issued_at - paid_at)))::integer) stored,
      primary key (conference_id, purchase_id),
      constraint voucher_issue_times_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint voucher_issue_times_source_known check (source in ('stripe', 'recorded'))
    );

    -- First: it waits for the transactions that issue vouchers now, so that the rows below include theirs.
    ${issueTimeFunction('purchase_id')}
    create constraint trigger voucher_batches_issue_time_added after insert on voucher_batches
      deferrable initially deferred
      for each row when (new.source = 'purchase') execute function voucher_batches_add_issue_time();

    select set_config('app.system_task', 'migrate', true);
    insert into voucher_issue_times (conference_id, purchase_id, source, paid_at, issued_at)
    select r.conference_id, r.purchase_id, 'recorded', r.paid_at, b.created_at
    from recorded_payments r
    join voucher_batches b on b.conference_id = r.conference_id and b.purchase_id = r.purchase_id;
    select set_config('app.system_task', '', true);

    -- With everything that a report reads.
    create index voucher_issue_times_by_day on voucher_issue_times (conference_id, day)
      include (source, seconds);
  `)
  await protectByConference(knex, 'voucher_issue_times')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger voucher_batches_issue_time_added on voucher_batches;
    drop function voucher_batches_add_issue_time;
    drop table voucher_issue_times;
  `)
}
