import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * Requested changes of coupons and promotion codes. A row is written before the request to Stripe, so
 * that a repeat after a crash sends the same request, and is kept as the record of who did what. The objects
 * themselves are in the mirror.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table discount_changes (
      conference_id text not null references conferences (id),
      id text not null,
      kind text not null,
      action text not null,
      -- Stripe's id; null while a promotion code is created, because Stripe chooses the id.
      object_id text,
      -- The request to Stripe.
      params jsonb not null,
      -- 'requested': the outcome at Stripe is not known yet.
      state text not null default 'requested',
      refusal text,
      actor_kind text not null,
      actor_id text not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint discount_changes_kind_known check (kind in ('coupon', 'promotion_code')),
      constraint discount_changes_action_known check (action in ('create', 'update', 'delete')),
      constraint discount_changes_state_known check (state in ('requested', 'accepted', 'refused')),
      constraint discount_changes_refusal_said check ((state = 'refused') = (refusal is not null)),
      constraint discount_changes_object_named check (
        object_id is not null
        or (kind = 'promotion_code' and action = 'create' and state <> 'accepted'))
    );
    create index discount_changes_newest on discount_changes (conference_id, created_at desc, id desc);
    create index discount_changes_by_object
      on discount_changes (conference_id, object_id, created_at desc, id desc);
  `)
  await protectByConference(knex, 'discount_changes')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table discount_changes;`)
}
