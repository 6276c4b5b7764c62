import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table bulk_purchases (
      conference_id text not null references conferences (id),
      id text not null,
      sponsor_id text,
      status text not null default 'PENDING',
      quantity integer not null,
      unit_amount bigint not null,
      total_amount bigint not null,
      currency text not null,
      description text not null,
      reference text,
      ticket_type_id text,
      add_on_id text,
      voucher_type text not null,
      discount_value numeric(11, 2) not null,
      max_uses integer not null,
      valid_from timestamptz,
      valid_until timestamptz,
      unlocks_hidden_tickets boolean not null,
      code_prefix text not null,
      amount_received bigint not null default 0,
      amount_refunded bigint not null default 0,
      payment_intent_id text,
      accepted_payment_intent_id text,
      accepted_amount bigint,
      failure_code text,
      failure_message text,
      reconcile_ticket bigint not null default 0,
      applied_ticket bigint not null default 0,
      reconciled_at timestamptz,
      requested_by text not null,
      approved_by text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      paid_at timestamptz,
      refunded_at timestamptz,
      primary key (conference_id, id),
      constraint bulk_purchases_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint bulk_purchases_ticket_type_fkey foreign key (conference_id, ticket_type_id)
        references ticket_types (conference_id, id),
      constraint bulk_purchases_add_on_fkey foreign key (conference_id, add_on_id)
        references add_ons (conference_id, id),
      constraint bulk_purchases_status_known
        check (status in ('PENDING', 'PROCESSING', 'PAID', 'FAILED', 'REFUNDED')),
      constraint bulk_purchases_quantity_range check (quantity between 1 and 1000000),
      constraint bulk_purchases_unit_amount_range check (unit_amount >= 0),
      constraint bulk_purchases_total_is_product check (total_amount = quantity * unit_amount),
      constraint bulk_purchases_total_range check (total_amount <= 99999999),
      constraint bulk_purchases_one_item check (ticket_type_id is null or add_on_id is null),
      constraint bulk_purchases_voucher_type_known
        check (voucher_type in ('comp', 'percentage', 'fixed_amount')),
      constraint bulk_purchases_discount_range check (discount_value >= 0
        and (voucher_type <> 'percentage' or discount_value <= 100)),
      constraint bulk_purchases_max_uses_range check (max_uses between 1 and 1000000),
      constraint bulk_purchases_validity_order check (valid_until > valid_from),
      constraint bulk_purchases_prefix_shape check (code_prefix ~ '^[A-Z0-9-]{0,68}$'),
      constraint bulk_purchases_received_range check (amount_received >= 0 and amount_refunded >= 0),
      constraint bulk_purchases_paid_has_time check (status not in ('PAID', 'REFUNDED') or paid_at is not null),
      constraint bulk_purchases_refunded_has_time check ((status = 'REFUNDED') = (refunded_at is not null)),
      constraint bulk_purchases_accepted_whole
        check ((accepted_payment_intent_id is null) = (accepted_amount is null)),
      constraint bulk_purchases_ticket_order check (applied_ticket <= reconcile_ticket)
    );
    create index bulk_purchases_newest on bulk_purchases (conference_id, created_at desc, id desc);
    create index bulk_purchases_by_status
      on bulk_purchases (conference_id, status, created_at desc, id desc);
    create index bulk_purchases_by_sponsor
      on bulk_purchases (conference_id, sponsor_id, created_at desc, id desc);
    create index bulk_purchases_by_ticket_type
      on bulk_purchases (conference_id, ticket_type_id, created_at desc, id desc);
    create index bulk_purchases_by_payment_intent on bulk_purchases (conference_id, payment_intent_id);
    -- The sweep looks across tenants for the purchases that have been PROCESSING for longest.
    create index bulk_purchases_without_news on bulk_purchases (reconciled_at nulls first)
      where status = 'PROCESSING';
  `)
  await protectByConference(knex, 'bulk_purchases')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table bulk_purchases;`)
}
