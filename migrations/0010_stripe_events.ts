import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** Stripe's events. The table is its own queue: status, attempts, next_attempt_at and a lease. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table stripe_events (
      conference_id text not null references conferences (id),
      id text not null,
      type text not null,
      livemode boolean not null,
      api_version text,
      body bytea not null,
      object_id text,
      payment_intent_id text,
      purchase_id text,
      source text not null,
      status text not null default 'pending',
      attempts integer not null default 0,
      next_attempt_at timestamptz not null default now(),
      lease_until timestamptz,
      last_error text,
      created_at_stripe timestamptz not null,
      received_at timestamptz not null default now(),
      finished_at timestamptz,
      primary key (conference_id, id),
      constraint stripe_events_source_known check (source in ('webhook', 'missed', 'replay')),
      constraint stripe_events_status_known check (status in ('pending', 'done', 'ignored', 'failed')),
      constraint stripe_events_finished_has_time
        check ((status = 'pending') = (finished_at is null)),
      constraint stripe_events_attempts_range check (attempts >= 0)
    );
    create index stripe_events_due on stripe_events (next_attempt_at) where status = 'pending';
    create index stripe_events_newest on stripe_events (conference_id, received_at desc, id desc);
    create index stripe_events_by_status
      on stripe_events (conference_id, status, received_at desc, id desc);
    create index stripe_events_failed on stripe_events (finished_at) where status = 'failed';
  `)
  await protectByConference(knex, 'stripe_events')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table stripe_events;`)
}
