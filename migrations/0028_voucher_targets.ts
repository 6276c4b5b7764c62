import type { Knex } from 'knex'

/**
 * How many vouchers of a batch refunds and disputes require to be inactive or frozen. Until now, each
 * refund and dispute changed the vouchers itself, and only the payments said what they should be.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table voucher_batches
      add column required_inactive integer not null default 0,
      add column required_frozen integer not null default 0,
      add column disputed boolean not null default false,
      -- How many of required_inactive are not inactive, since all others are redeemed.
      -- Null: the vouchers were not aligned to the columns above yet.
      add column missing_inactive integer default 0,
      add constraint voucher_batches_required_order
        check (required_inactive >= 0 and required_frozen >= required_inactive),
      add constraint voucher_batches_missing_range check (missing_inactive >= 0);

    select set_config('app.system_task', 'migrate', true);

    with payments as (
      select m.conference_id, m.purchase_id, m.amount_received as received,
        coalesce(sum(r.amount) filter (where r.status = 'succeeded'), 0) as refunded,
        coalesce(sum(r.amount) filter (where r.status in ('pending', 'requires_action')), 0) as pending,
        (select coalesce(sum(d.amount), 0) from purchase_disputes d
          where d.conference_id = m.conference_id and d.purchase_id = m.purchase_id
            and d.payment_intent_id = m.payment_intent_id and d.status = 'lost') as lost,
        exists (select from purchase_disputes d
          where d.conference_id = m.conference_id and d.purchase_id = m.purchase_id
            and d.payment_intent_id = m.payment_intent_id
            and d.status not in ('lost', 'won', 'warning_closed', 'prevented')) as disputed
      from purchase_payments m
      join bulk_purchases p on p.conference_id = m.conference_id and p.id = m.purchase_id
      left join purchase_refunds r on r.conference_id = m.conference_id
        and r.purchase_id = m.purchase_id and r.payment_intent_id = m.payment_intent_id
      where m.currency = p.currency or m.payment_intent_id = p.accepted_payment_intent_id
      group by m.conference_id, m.payment_intent_id
    ), money as (
      select p.conference_id, p.id, p.status, p.quantity,
        least(p.total_amount, p.accepted_amount) as due,
        coalesce(sum(y.received - y.refunded - y.lost), 0) as net,
        coalesce(sum(y.pending), 0) as pending,
        coalesce(bool_or(y.disputed), false) as disputed
      from bulk_purchases p
      left join payments y on y.conference_id = p.conference_id and y.purchase_id = p.id
      group by p.conference_id, p.id
    ), required as (
      select conference_id, id, disputed,
        case when status = 'REFUNDED' then quantity
          when due = 0 then 0
          else least(quantity, floor(greatest(0, due - net) * quantity / due))
        end as inactive,
        case when status = 'REFUNDED' then quantity
          when due = 0 then 0
          else least(quantity, floor(greatest(0, due - net + pending) * quantity / due))
        end as frozen
      from money
      where status in ('PAID', 'REFUNDED')
    )
    update voucher_batches b
    set required_inactive = required.inactive, required_frozen = required.frozen,
      disputed = required.disputed, missing_inactive = null
    from required
    where b.conference_id = required.conference_id and b.purchase_id = required.id
      and (required.frozen > 0 or required.disputed);

    -- Earlier releases could leave codes frozen or inactive that no refund or dispute requires.
    update voucher_batches b set missing_inactive = null
    where b.missing_inactive is not null and b.purchase_id is not null and exists (
      select from vouchers v
      where v.conference_id = b.conference_id and v.batch_id = b.id and v.state <> 'active');

    select set_config('app.system_task', '', true);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table voucher_batches
      drop column required_inactive,
      drop column required_frozen,
      drop column disputed,
      drop column missing_inactive;
  `)
}
