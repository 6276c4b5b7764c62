import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * The mirror of Stripe's objects and its sync runs. The tables of the resources are
 * derived from their definitions (derived_mirror_tables.ts).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create schema stripe;

    create table sync_runs (
      conference_id text not null references conferences (id),
      id text not null,
      resource text not null,
      state text not null default 'queued',
      started_by text not null,
      ids text[],
      since timestamptz,
      force boolean not null default false,
      dry_run boolean not null default false,
      -- The position of the listing. Its format belongs to the code that lists.
      cursor jsonb,
      -- The database's time when the first page was requested. Rows fetched later are not checked for deletion.
      listed_from timestamptz,
      attempt integer not null default 0,
      lease_until timestamptz,
      fetched bigint not null default 0,
      created bigint not null default 0,
      updated bigint not null default 0,
      unchanged bigint not null default 0,
      deleted bigint not null default 0,
      failed bigint not null default 0,
      requests bigint not null default 0,
      -- A sample of changes and failures.
      details jsonb not null default '[]',
      error jsonb,
      created_at timestamptz not null default now(),
      started_at timestamptz,
      finished_at timestamptz,
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint sync_runs_state_known
        check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
      constraint sync_runs_finished_has_time
        check ((state in ('queued', 'running')) = (finished_at is null))
    );
    create unique index sync_runs_one_at_a_time on sync_runs (conference_id, resource)
      where state in ('queued', 'running');
    create index sync_runs_newest on sync_runs (conference_id, created_at desc, id desc);

    -- The ids that a run has listed, until it ends. One row per page instead of per id is a tenth of the
    -- work, and they are always read together.
    create table sync_run_ids (
      conference_id text not null,
      run_id text not null,
      ids text[] not null
    );
    create index sync_run_ids_of_run on sync_run_ids (conference_id, run_id);
  `)
  await protectByConference(knex, 'sync_runs')
  await protectByConference(knex, 'sync_run_ids')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table sync_run_ids;
    drop table sync_runs;
    drop schema stripe cascade;
  `)
}
