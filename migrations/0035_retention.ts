import type { Knex } from 'knex'

/**
 * Retention: bodies of handled events, ended sync runs and ended discount changes are deleted after a
 * time. An event without its body stays, so that a duplicate is still recognised.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table stripe_events
      alter column body drop not null,
      add constraint stripe_events_body_kept
        check (body is not null or status in ('done', 'ignored'));
    create index stripe_events_with_body on stripe_events (finished_at)
      where body is not null and status in ('done', 'ignored');
    create index sync_runs_finished on sync_runs (finished_at) where finished_at is not null;
    create index discount_changes_ended on discount_changes (updated_at) where state <> 'requested';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index discount_changes_ended;
    drop index sync_runs_finished;
    drop index stripe_events_with_body;
    alter table stripe_events no force row level security;
    update stripe_events set body = '' where body is null;
    alter table stripe_events force row level security;
    alter table stripe_events
      drop constraint stripe_events_body_kept,
      alter column body set not null;
  `)
}
