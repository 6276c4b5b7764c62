import type { Knex } from 'knex'

/**
 * Two lanes in the table of events: events for purchases, and events only for the mirror.
 * An event may pass through both lanes, one after the other.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table stripe_events
      add column lane text not null default 'purchase',
      add column mirror_resource text,
      add column mirror_id text,
      -- The object must be fetched at this time or later; null: received_at.
      add column mirror_after timestamptz,
      add constraint stripe_events_lane_known check (lane in ('purchase', 'mirror')),
      add constraint stripe_events_mirror_object_whole
        check ((mirror_resource is null) = (mirror_id is null)),
      add constraint stripe_events_mirror_lane_has_object
        check (lane <> 'mirror' or mirror_id is not null);
    drop index stripe_events_due;
    create index stripe_events_due_purchase on stripe_events (next_attempt_at)
      where status = 'pending' and lane = 'purchase';
    create index stripe_events_due_mirror on stripe_events (next_attempt_at)
      where status = 'pending' and lane = 'mirror';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index stripe_events_due_mirror;
    drop index stripe_events_due_purchase;
    create index stripe_events_due on stripe_events (next_attempt_at) where status = 'pending';
    alter table stripe_events
      drop column lane,
      drop column mirror_resource,
      drop column mirror_id,
      drop column mirror_after;
  `)
}
