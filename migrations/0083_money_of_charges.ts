import type { Knex } from 'knex'
import {
  DROP_STRIPE_TRIGGERS,
  type Movement,
  PURCHASE_TRIGGERS,
  stripeTriggers,
} from './0076_money_movements.ts'
import { issueTimeFunction } from './0077_voucher_issue_times.ts'

/** SQL that adds a movement of the purchase or the charge that `new` belongs to. */
const addMovement = (values: Movement) => `
        insert into money_movements (conference_id, purchase_id, charge_id, happened_at, kind, source,
          object_id, amount, currency, item_id)
        values (new.conference_id, new.purchase_id, new.charge_id, ${values.at}, '${values.kind}',
          '${values.source}', ${values.object}, ${values.amount}, ${values.currency},
          (select coalesce(p.ticket_type_id, p.add_on_id) from bulk_purchases p
           where p.conference_id = new.conference_id and p.id = new.purchase_id))`

const BY_DAY = `create index money_movements_by_day on money_movements (conference_id, day)
      include (item_id, currency, kind, source, amount)`

/**
 * Movements of charges too, and when the service booked each movement: the statements of sponsors read nothing
 * else about money. Movements from before count as booked when they happened, those of recorded payments when
 * staff recorded them.
 *
 * Upgrade: the last release does not know the table; its writes reach it by triggers. Payments wait until the
 * rows, all of this upgrade, are written again.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- First, and in the order of the writers: it waits for those of now, so that the rows below include theirs.
    -- All waits together are shorter than deadlock_timeout (1 s).
    set local lock_timeout = '100ms';
    lock table bulk_purchases, charges in exclusive mode;
    lock table payments, payment_refunds, payment_disputes in access exclusive mode;
    ${DROP_STRIPE_TRIGGERS}
    ${stripeTriggers({ add: addMovement, counts: 'true' })}

    -- A development version had these.
    alter table payments drop column if exists received_at;
    alter table payment_refunds drop column if exists succeeded_at;
    alter table payment_disputes drop column if exists lost_at;

    alter table money_movements drop constraint money_movements_pkey;
    alter table money_movements
      alter column purchase_id drop not null,
      add column charge_id text,
      add column owner_id text not null generated always as (coalesce(purchase_id, charge_id)) stored,
      add constraint money_movements_charge_fkey foreign key (conference_id, charge_id)
        references charges (conference_id, id),
      add constraint money_movements_one_owner check ((purchase_id is null) <> (charge_id is null)),
      add primary key (conference_id, owner_id, id);
    alter table money_movements rename column created_at to booked_at;
    ${issueTimeFunction('owner_id')}

    select set_config('app.system_task', 'migrate', true);
    grant update on money_movements to current_user;
    update money_movements m set booked_at = coalesce(
      (select r.created_at from recorded_payments r
       where r.conference_id = m.conference_id and r.purchase_id = m.purchase_id
         and m.source = 'recorded' and m.kind = 'payment'),
      m.happened_at);
    revoke update on money_movements from current_user;
    insert into money_movements
      (conference_id, charge_id, happened_at, booked_at, kind, source, object_id, amount, currency)
    select m.conference_id, m.charge_id, m.at, m.at, m.kind, 'stripe', m.object_id, m.amount, m.currency
    from (
      select r.conference_id, r.charge_id, coalesce(c.succeeded_at, r.seen_at) as at, 'payment' as kind,
        r.payment_intent_id as object_id, r.amount_received as amount, r.currency
      from payments r join charges c on c.conference_id = r.conference_id and c.id = r.charge_id
      where r.amount_received > 0
      union all
      select conference_id, charge_id, seen_at, 'refund', id, amount, currency from payment_refunds
      where charge_id is not null and status = 'succeeded' and amount > 0
      union all
      select conference_id, charge_id, updated_at, 'dispute', id, amount, currency from payment_disputes
      where charge_id is not null and status = 'lost' and amount > 0) m
    order by m.at;
    select set_config('app.system_task', '', true);

    drop index money_movements_by_day;
    ${BY_DAY} where purchase_id is not null;
  `)
}

/** The previous schema has no movements of charges. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ${DROP_STRIPE_TRIGGERS}
    ${PURCHASE_TRIGGERS}
    select set_config('app.system_task', 'migrate', true);
    grant delete on money_movements to current_user;
    delete from money_movements where charge_id is not null;
    revoke delete on money_movements from current_user;
    select set_config('app.system_task', '', true);
    alter table money_movements drop constraint money_movements_pkey;
    drop index money_movements_by_day;
    alter table money_movements drop column owner_id, drop column charge_id;
    alter table money_movements alter column purchase_id set not null,
      add primary key (conference_id, purchase_id, id);
    alter table money_movements rename column booked_at to created_at;
    ${issueTimeFunction('purchase_id')}
    ${BY_DAY};
  `)
}
