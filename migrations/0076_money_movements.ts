import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** A movement as SQL expressions. */
export type Movement = {
  kind: string
  source: string
  object: string
  amount: string
  currency: string
  at: string
}

/** SQL that adds a movement of the purchase that `new` belongs to, `p`. */
const addMovement = (values: Movement) => `
        insert into money_movements
          (conference_id, purchase_id, happened_at, kind, source, object_id, amount, currency, item_id)
        select p.conference_id, p.id, ${values.at}, '${values.kind}', '${values.source}', ${values.object},
          ${values.amount}, ${values.currency}, coalesce(p.ticket_type_id, p.add_on_id)
        from bulk_purchases p where p.conference_id = new.conference_id and p.id = new.purchase_id`

/** A time of Stripe's clock, which may be ahead of ours. */
const notAfterNow = (time: string) => `least(coalesce(${time}, now()), now())`

/** Writes the statement that adds a movement. `counts`: the rows that have movements. */
type Adding = { add: (movement: Movement) => string; counts: string }

/** A trigger that adds what a refund or a dispute counts more or less than before. */
const followStatus = (
  { add, counts }: Adding,
  table: string,
  kind: string,
  status: string,
  at: string,
) => `
    create function ${table}_add_movement() returns trigger language plpgsql as $$
    declare
      change bigint := case when new.status = '${status}' then new.amount else 0 end;
    begin
      if tg_op = 'UPDATE' and old.status = '${status}' then change := change - old.amount; end if;
      if change <> 0 then ${add({
        kind,
        source: 'stripe',
        object: 'new.id',
        amount: 'change',
        currency: 'new.currency',
        at,
      })};
      end if;
      return null;
    end $$;
    create trigger ${table}_movement_added after insert on ${table}
      for each row when (${counts} and new.status = '${status}')
      execute function ${table}_add_movement();
    create trigger ${table}_movement_changed after update on ${table}
      for each row when (${counts}
        and (old.status, old.amount) is distinct from (new.status, new.amount))
      execute function ${table}_add_movement();`

/** SQL for the triggers on the tables of what Stripe shows. */
export const stripeTriggers = (adding: Adding) => `
    create function payments_add_movement() returns trigger language plpgsql as $$
    declare
      change bigint := new.amount_received;
      happened timestamptz := ${notAfterNow('new.charged_at')};
    begin
      if tg_op = 'UPDATE' then
        change := change - old.amount_received;
        -- Stripe charges a bank debit when it begins: it came when we learn that it succeeded. A part of a bank
        -- transfer, and less than before, has no time at Stripe.
        if old.status = 'processing' or old.charged_at is not distinct from new.charged_at then
          happened := now();
        end if;
      end if; ${adding.add({
        kind: 'payment',
        source: 'stripe',
        object: 'new.payment_intent_id',
        amount: 'change',
        currency: 'new.currency',
        at: 'happened',
      })};
      return null;
    end $$;
    create trigger payments_movement_added after insert on payments
      for each row when (${adding.counts} and new.amount_received > 0)
      execute function payments_add_movement();
    create trigger payments_movement_changed after update on payments
      for each row when (${adding.counts} and new.amount_received <> old.amount_received)
      execute function payments_add_movement();
    ${followStatus(
      adding,
      'payment_refunds',
      'refund',
      'succeeded',
      `case tg_op when 'INSERT' then ${notAfterNow('new.refunded_at')} else now() end`,
    )}
    ${followStatus(adding, 'payment_disputes', 'dispute', 'lost', 'now()')}`

/** SQL for those of this migration. */
export const PURCHASE_TRIGGERS = stripeTriggers({
  add: addMovement,
  counts: 'new.purchase_id is not null',
})

export const DROP_STRIPE_TRIGGERS = `
    drop trigger payment_disputes_movement_changed on payment_disputes;
    drop trigger payment_disputes_movement_added on payment_disputes;
    drop trigger payment_refunds_movement_changed on payment_refunds;
    drop trigger payment_refunds_movement_added on payment_refunds;
    drop trigger payments_movement_changed on payments;
    drop trigger payments_movement_added on payments;
    drop function payment_disputes_add_movement, payment_refunds_add_movement, payments_add_movement;`

const recorded = (table: string, kind: string, currency: string, at: string) => `
    create function ${table}_add_movement() returns trigger language plpgsql as $$
    begin ${addMovement({
      kind,
      source: 'recorded',
      object: 'new.id',
      amount: 'new.amount',
      currency,
      at,
    })};
      return null;
    end $$;
    create trigger ${table}_movement_added after insert on ${table}
      for each row execute function ${table}_add_movement();`

/**
 * What purchases received, refunded and lost, with the time of each change: reports by the day of the payment
 * read nothing else. A row is never changed, so the sums of a day that is over stay as they are: a refund
 * that fails later is taken back on the day of its failure.
 *
 * Triggers write it, because processes of the previous release write payments too. Such a process does
 * not know the times at Stripe; then the time of the write counts.
 *
 * Upgrade: changes of purchases wait until the movements of all payments are written.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- In the order of requests, which lock a purchase and then read its payments. All waits together are shorter than
    -- deadlock_timeout (1 s): if a request waits for this migration and has what it needs, the request goes on.
    set local lock_timeout = '100ms';
    lock table bulk_purchases in exclusive mode;
    lock table payments, payment_refunds, payment_disputes in access exclusive mode;
    alter table payments add column charged_at timestamptz;
    alter table payment_refunds add column refunded_at timestamptz;

    create table money_movements (
      conference_id text not null,
      purchase_id text not null,
      id bigint generated always as identity,
      happened_at timestamptz not null,
      -- Stored: to compute it takes Postgres longer than everything else in a report.
      day date not null generated always as (cast(happened_at at time zone 'utc' as date)) stored,
      kind text not null,
      source text not null,
      -- The payment, refund or dispute.
      object_id text not null,
      -- Negative: an earlier movement is taken back.
      amount bigint not null,
      currency text not null,
      -- The ticket type or add-on; null: neither.
      item_id text,
      created_at timestamptz not null default now(),
      primary key (conference_id, purchase_id, id),
      constraint money_movements_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint money_movements_kind_known check (kind in ('payment', 'refund', 'dispute')),
      constraint money_movements_source_known check (source in ('stripe', 'recorded')),
      constraint money_movements_amount check (amount <> 0)
    );

    -- First: they wait for the transactions that write now, so that the rows below include theirs.
    ${PURCHASE_TRIGGERS}
    ${recorded('recorded_payments', 'payment', 'new.currency', 'new.paid_at')}
    ${recorded('recorded_refunds', 'refund', 'p.currency', 'new.created_at')}

    select set_config('app.system_task', 'migrate', true);
    insert into money_movements
      (conference_id, purchase_id, happened_at, kind, source, object_id, amount, currency, item_id)
    select p.conference_id, p.id, m.happened_at, m.kind, m.source, m.object_id, m.amount, m.currency,
      coalesce(p.ticket_type_id, p.add_on_id)
    from bulk_purchases p
    join lateral (
      select case when r.payment_intent_id = p.payment_intent_id then coalesce(p.paid_at, r.seen_at)
          else r.seen_at end as happened_at,
        'payment' as kind, 'stripe' as source, r.payment_intent_id as object_id,
        r.amount_received as amount, r.currency
      from payments r
      where r.conference_id = p.conference_id and r.owner_id = p.id and r.purchase_id = p.id
        and r.amount_received > 0
      union all
      select r.seen_at, 'refund', 'stripe', r.id, r.amount, r.currency from payment_refunds r
      where r.conference_id = p.conference_id and r.owner_id = p.id and r.purchase_id = p.id
        and r.status = 'succeeded' and r.amount > 0
      union all
      select r.updated_at, 'dispute', 'stripe', r.id, r.amount, r.currency from payment_disputes r
      where r.conference_id = p.conference_id and r.owner_id = p.id and r.purchase_id = p.id
        and r.status = 'lost' and r.amount > 0
      union all
      select r.paid_at, 'payment', 'recorded', r.id, r.amount, r.currency from recorded_payments r
      where r.conference_id = p.conference_id and r.purchase_id = p.id
      union all
      select b.created_at, 'refund', 'recorded', b.id, b.amount, r.currency
      from recorded_refunds b
      join recorded_payments r on r.conference_id = b.conference_id and r.purchase_id = b.purchase_id
      where b.conference_id = p.conference_id and b.purchase_id = p.id) m on true
    order by m.happened_at;
    select set_config('app.system_task', '', true);

    -- With everything that a report reads.
    create index money_movements_by_day on money_movements (conference_id, day)
      include (item_id, currency, kind, source, amount);
  `)
  await protectByConference(knex, 'money_movements')
  await knex.raw('revoke update, delete, truncate on money_movements from current_user')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger recorded_refunds_movement_added on recorded_refunds;
    drop trigger recorded_payments_movement_added on recorded_payments;
    drop function recorded_refunds_add_movement, recorded_payments_add_movement;
    ${DROP_STRIPE_TRIGGERS}
    drop table money_movements;
    alter table payment_refunds drop column refunded_at;
    alter table payments drop column charged_at;
  `)
}
