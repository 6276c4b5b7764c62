import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** Published batches: their vouchers are redeemed at Stripe, as promotion codes, and not here. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- From this time, the codes of the batch can only be used at Stripe.
    alter table voucher_batches add column published_at timestamptz;

    create table voucher_publications (
      conference_id text not null,
      id text not null,
      batch_id text not null,
      state text not null default 'running',
      coupon_id text not null,
      -- The request for the coupon, which is created once, before the codes.
      coupon_change_id text not null,
      expires_at timestamptz,
      error text,
      published_by text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint voucher_publications_batch_fkey foreign key (conference_id, batch_id)
        references voucher_batches (conference_id, id),
      constraint voucher_publications_coupon_fkey foreign key (conference_id, coupon_change_id)
        references discount_changes (conference_id, id),
      constraint voucher_publications_state_known check (state in ('running', 'done', 'failed')),
      constraint voucher_publications_error_said check ((state = 'failed') = (error is not null))
    );
    -- A failed publication created no code, and another may follow it.
    create unique index voucher_publications_one_a_batch
      on voucher_publications (conference_id, batch_id) where state <> 'failed';

    create table published_vouchers (
      conference_id text not null,
      voucher_id bigint not null,
      publication_id text not null,
      -- The remaining uses at publication. Fixed, because it is fixed at Stripe.
      max_redemptions integer not null,
      promotion_code_id text,
      -- Whether the promotion code is active, as last requested at Stripe.
      is_on boolean not null default false,
      -- A part of the idempotency key at Stripe.
      attempt integer not null default 1,
      error text,
      updated_at timestamptz not null default now(),
      primary key (conference_id, voucher_id),
      constraint published_vouchers_voucher_fkey foreign key (conference_id, voucher_id)
        references vouchers (conference_id, id),
      constraint published_vouchers_publication_fkey foreign key (conference_id, publication_id)
        references voucher_publications (conference_id, id),
      constraint published_vouchers_code_key unique (conference_id, promotion_code_id),
      constraint published_vouchers_uses check (max_redemptions >= 1),
      constraint published_vouchers_on_has_code check (not is_on or promotion_code_id is not null)
    );
    create index published_vouchers_by_publication
      on published_vouchers (conference_id, publication_id);
  `)
  await protectByConference(knex, 'voucher_publications')
  await protectByConference(knex, 'published_vouchers')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table published_vouchers;
    drop table voucher_publications;
    alter table voucher_batches drop column published_at;
  `)
}
