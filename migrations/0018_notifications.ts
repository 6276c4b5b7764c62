import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * Outbound webhooks: their endpoints, and one row per event and endpoint. `disabled_by` is who
 * disabled the endpoint: staff, or the receiver with a 410.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table webhook_endpoints (
      conference_id text not null references conferences (id),
      id text not null,
      url text not null,
      description text,
      -- null: all types, including those of later releases.
      event_types text[],
      secret_sealed text not null,
      secret_last4 text not null,
      previous_secret_sealed text,
      previous_secret_until timestamptz,
      disabled_at timestamptz,
      disabled_by text,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint webhook_endpoints_url_shape check (url ~ '^(http|https)://' and length(url) <= 2000),
      constraint webhook_endpoints_event_types_some check (cardinality(event_types) > 0),
      constraint webhook_endpoints_previous_secret_whole
        check ((previous_secret_sealed is null) = (previous_secret_until is null)),
      constraint webhook_endpoints_disabled_whole
        check ((disabled_at is null) = (disabled_by is null)),
      constraint webhook_endpoints_disabled_by_known check (disabled_by in ('staff', 'receiver'))
    );
    create index webhook_endpoints_newest
      on webhook_endpoints (conference_id, created_at desc, id desc);

    create table webhook_deliveries (
      conference_id text not null,
      id text not null,
      endpoint_id text not null,
      type text not null,
      -- Sent unchanged, byte for byte, in every attempt.
      body text not null,
      state text not null default 'pending',
      attempts integer not null default 0,
      next_attempt_at timestamptz,
      last_attempt_at timestamptz,
      last_status integer,
      last_error text,
      created_at timestamptz not null default now(),
      finished_at timestamptz,
      primary key (conference_id, id),
      constraint webhook_deliveries_endpoint_fkey foreign key (conference_id, endpoint_id)
        references webhook_endpoints (conference_id, id) on delete cascade,
      constraint webhook_deliveries_state_known
        check (state in ('pending', 'delivered', 'failed')),
      constraint webhook_deliveries_pending_has_time
        check ((state = 'pending') = (next_attempt_at is not null)),
      constraint webhook_deliveries_finished_has_time
        check ((state <> 'pending') = (finished_at is not null)),
      constraint webhook_deliveries_attempts_range check (attempts >= 0)
    );
    create index webhook_deliveries_newest
      on webhook_deliveries (conference_id, endpoint_id, created_at desc, id desc);
    create index webhook_deliveries_finished
      on webhook_deliveries (finished_at) where finished_at is not null;
  `)
  await protectByConference(knex, 'webhook_endpoints')
  await protectByConference(knex, 'webhook_deliveries')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table webhook_deliveries; drop table webhook_endpoints;`)
}
