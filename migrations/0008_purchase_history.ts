import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table purchase_transitions (
      conference_id text not null,
      purchase_id text not null,
      id bigint generated always as identity,
      from_status text not null,
      to_status text not null,
      event text not null,
      cause text not null,
      actor_kind text not null,
      actor_id text not null,
      created_at timestamptz not null default clock_timestamp(),
      primary key (conference_id, purchase_id, id),
      constraint purchase_transitions_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id)
    );

    create table purchase_flags (
      conference_id text not null,
      purchase_id text not null,
      code text not null,
      fact text not null,
      detail text not null,
      raised_at timestamptz not null default now(),
      resolved_at timestamptz,
      resolved_by text,
      resolution text,
      note text,
      primary key (conference_id, purchase_id, code, fact),
      constraint purchase_flags_purchase_fkey foreign key (conference_id, purchase_id)
        references bulk_purchases (conference_id, id),
      constraint purchase_flags_code_known check (code in
        ('amount_mismatch', 'overpaid', 'refund_failed', 'dispute', 'too_few_unredeemed', 'early_fraud_warning')),
      constraint purchase_flags_resolution_whole
        check ((resolved_at is null) = (resolved_by is null) and (resolved_at is null) = (note is null))
    );
    create index purchase_flags_open on purchase_flags (conference_id, code, purchase_id)
      where resolved_at is null;
  `)
  await protectByConference(knex, 'purchase_transitions')
  await protectByConference(knex, 'purchase_flags')
  // The history is append-only: not even a bug in our code can change it. A dedicated
  // migration role may grant the privilege again; the service never does.
  await knex.raw(`revoke update, delete, truncate on purchase_transitions from current_user;`)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table purchase_flags; drop table purchase_transitions;`)
}
