import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table voucher_batches (
      conference_id text not null references conferences (id),
      id text not null,
      source text not null,
      purchase_id text,
      sponsor_id text,
      count integer not null,
      prefix text not null,
      code_length integer not null,
      voucher_type text not null,
      discount_value numeric(11, 2) not null,
      currency text not null,
      max_uses integer not null,
      valid_from timestamptz,
      valid_until timestamptz,
      unlocks_hidden_tickets boolean not null,
      ticket_type_id text,
      add_on_id text,
      created_by text not null,
      created_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint voucher_batches_purchase_key unique (conference_id, purchase_id),
      constraint voucher_batches_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint voucher_batches_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint voucher_batches_ticket_type_fkey foreign key (conference_id, ticket_type_id)
        references ticket_types (conference_id, id),
      constraint voucher_batches_add_on_fkey foreign key (conference_id, add_on_id)
        references add_ons (conference_id, id),
      constraint voucher_batches_source_known check (source in ('purchase', 'staff', 'comp')),
      constraint voucher_batches_purchase_source check ((source = 'purchase') = (purchase_id is not null)),
      constraint voucher_batches_count_range check (count between 1 and 1000000),
      constraint voucher_batches_prefix_shape check (prefix ~ '^[A-Z0-9-]{0,68}$'),
      constraint voucher_batches_code_length_range check (code_length between 8 and 32),
      constraint voucher_batches_voucher_type_known
        check (voucher_type in ('comp', 'percentage', 'fixed_amount')),
      constraint voucher_batches_discount_range check (discount_value >= 0
        and (voucher_type <> 'percentage' or discount_value <= 100)),
      constraint voucher_batches_max_uses_range check (max_uses between 1 and 1000000),
      constraint voucher_batches_validity_order check (valid_until > valid_from)
    );
    create index voucher_batches_newest on voucher_batches (conference_id, created_at desc, id desc);
    create index voucher_batches_by_sponsor
      on voucher_batches (conference_id, sponsor_id, created_at desc, id desc);
    -- A sponsor's complimentary codes are issued once, even if their issue runs twice.
    create unique index voucher_batches_one_comp
      on voucher_batches (conference_id, sponsor_id) where source = 'comp';

    create table vouchers (
      conference_id text not null,
      id bigint generated always as identity,
      batch_id text not null,
      ordinal integer not null,
      code text not null,
      code_key text collate "C" not null,
      times_used integer not null default 0,
      max_uses integer not null,
      deactivated_by text,
      deactivated_at timestamptz,
      held_by_refund boolean not null default false,
      held_by_dispute boolean not null default false,
      state text not null generated always as (
        case when deactivated_by is not null then 'deactivated'
             when held_by_refund or held_by_dispute then 'frozen'
             else 'active' end) stored,
      assigned_to text,
      created_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint vouchers_code_key unique (conference_id, code_key),
      constraint vouchers_ordinal_key unique (conference_id, batch_id, ordinal),
      constraint vouchers_batch_fkey foreign key (conference_id, batch_id)
        references voucher_batches (conference_id, id),
      constraint vouchers_ordinal_range check (ordinal >= 1),
      constraint vouchers_code_length check (length(code) <= 100),
      constraint vouchers_code_key_normal check (code_key = upper(translate(code, ' -', ''))),
      constraint vouchers_uses_range check (times_used between 0 and max_uses),
      constraint vouchers_deactivated_by_known check (deactivated_by in ('refund', 'staff')),
      constraint vouchers_deactivated_whole check ((deactivated_by is null) = (deactivated_at is null))
    );

    -- Queries by state look for vouchers that are not active, a small part of a large table.
    create index vouchers_not_active on vouchers (conference_id, state, id) where state <> 'active';

    create table redemptions (
      conference_id text not null,
      id text not null,
      voucher_id bigint not null,
      reference text not null,
      redeemed_by text not null,
      created_at timestamptz not null default now(),
      released_at timestamptz,
      released_by text,
      primary key (conference_id, id),
      constraint redemptions_voucher_fkey foreign key (conference_id, voucher_id)
        references vouchers (conference_id, id),
      constraint redemptions_reference_length check (length(reference) between 1 and 200),
      constraint redemptions_released_whole check ((released_at is null) = (released_by is null))
    );
    -- One redemption of one voucher per order, even if the ticket shop repeats it. After a release it may be redeemed again.
    create unique index redemptions_reference_key
      on redemptions (conference_id, voucher_id, reference) where released_at is null;
    create index redemptions_newest on redemptions (conference_id, created_at desc, id desc);
    create index redemptions_by_voucher
      on redemptions (conference_id, voucher_id, created_at desc, id desc);
    create index redemptions_by_reference on redemptions (conference_id, reference);
  `)
  await protectByConference(knex, 'voucher_batches')
  await protectByConference(knex, 'vouchers')
  await protectByConference(knex, 'redemptions')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table redemptions; drop table vouchers; drop table voucher_batches;`)
}
