import type { Knex } from 'knex'
import { createPartitions, dropDetached, markDetached } from '../src/db/partitions.ts'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'
import { PARTITIONED } from './0081_partition_keys.ts'

const INDEXES: Readonly<Record<string, string>> = {
  stripe_events: `
    create index stripe_events_newest on stripe_events (conference_id, received_at desc, id desc);
    create index stripe_events_by_status
      on stripe_events (conference_id, status, received_at desc, id desc);
    create index stripe_events_failed on stripe_events (finished_at) where status = 'failed';
    create index stripe_events_due_purchase on stripe_events (next_attempt_at)
      where status = 'pending' and lane = 'purchase';
    create index stripe_events_due_mirror on stripe_events (next_attempt_at)
      where status = 'pending' and lane = 'mirror';
    create index stripe_events_with_body on stripe_events (finished_at)
      where body is not null and status in ('done', 'ignored');`,
  webhook_deliveries: `
    create index webhook_deliveries_newest
      on webhook_deliveries (conference_id, endpoint_id, created_at desc, id desc);
    create index webhook_deliveries_finished
      on webhook_deliveries (finished_at) where finished_at is not null;
    create index webhook_deliveries_due on webhook_deliveries (next_attempt_at)
      where state = 'pending';`,
}

/** Triggers and foreign keys. */
const RULES: Readonly<Record<string, string>> = {
  stripe_events: `
    alter table stripe_events add constraint stripe_events_conference_id_fkey
      foreign key (conference_id) references conferences (id);
    create trigger stripe_events_redact before insert on stripe_events
      for each row execute function redact_new_event();`,
  webhook_deliveries: `
    alter table webhook_deliveries add constraint webhook_deliveries_endpoint_fkey
      foreign key (conference_id, endpoint_id) references webhook_endpoints (conference_id, id)
      on delete cascade;`,
}

const MIGRATE = `select set_config('app.system_task', 'migrate', true);`

/**
 * Stripe's events and outbound deliveries have a partition for each month, so that retention drops a table instead of
 * deleting rows (decision 36). The rows from before stay where they are: their table becomes the first partition.
 *
 * - A key contains the column that partitions. Stripe's `created` never changes for an event, so an event is still
 *   stored once.
 * - The task `prune` of the previous release finds rows by their place in a table, which several partitions share.
 *   So it may no longer see these tables.
 *
 * Upgrade: the names stay, so processes of the last release go on as before. The locks last for the catalogue alone: the
 * previous migration has made the index and checked the bound.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(MIGRATE)
  // Partitions get the foreign keys of their table, which locks the tables that they refer to. Requests and workers lock
  // these tables in more than one order. So all waits together are shorter than deadlock_timeout (1 s): if one of them
  // waits for this migration and has what it needs, this migration ends and is tried again.
  await knex.raw(`
    set local lock_timeout = '100ms';
    lock table conferences, webhook_endpoints, stripe_events, webhook_deliveries in access exclusive mode;
  `)
  for (const { table, column } of PARTITIONED) {
    const until = await preparedBound(knex, table)
    const before = `${table}_until_${until}`
    const { rows: indexes } = await knex.raw<{ rows: { name: string }[] }>(
      `select c.relname as name from pg_index join pg_class c on c.oid = indexrelid
       where indrelid = ?::regclass and not indisprimary and c.relname not like ?`,
      [table, `${table}_until_%`],
    )
    await knex.raw(`
      alter table ${table} rename to ${before};
      alter table ${before} drop constraint ${table}_pkey;
      alter table ${before} add primary key using index ${before}_pkey;
      ${indexes.map(({ name }) => `alter index ${name} rename to ${name}_until_${until};`).join('\n')}
      drop trigger if exists stripe_events_redact on ${before};
      create table ${table} (like ${before} including defaults including constraints including storage)
        partition by range (${column});
      alter table ${table} drop constraint ${before};
      alter table ${table} add primary key (conference_id, id, ${column});
      ${INDEXES[table]}
      ${RULES[table]}
    `)
    await protectByConference(knex, table)
    await protectByConference(knex, `${table}_default`)
    const { rows: first } = await knex.raw<{ rows: unknown[] }>(`select from ${before} limit 1`)
    const attach = `alter table ${table} attach partition ${before}
        for values from (minvalue) to ('${until.replace('_', '-')}-01 00:00:00+00');`
    await knex.raw(`
      ${first.length === 0 ? markDetached(before) : attach}
      alter table ${table} attach partition ${table}_default default;
      alter table ${before} drop constraint ${before};
    `)
    await allowSystemTasks(knex, `${table}_default`, { write: ['prune', 'partitions'] })
    await createPartitions(knex, { table, column, kept: 'true' })
  }
  await allowSystemTasks(knex, 'stripe_events', {
    read: ['metrics'],
    write: ['store-events', 'claim-events', 'partitions'],
  })
  await allowSystemTasks(knex, 'webhook_deliveries', { write: ['partitions'] })
  await knex.raw(`select set_config('app.system_task', '', true);`)
}

/** The month in the name of the check that the previous migration made. */
async function preparedBound(knex: Knex, table: string): Promise<string> {
  const { rows } = await knex.raw<{ rows: { month: string }[] }>(
    `select right(conname, 7) as month from pg_constraint
     where conrelid = ?::regclass and conname like ? and convalidated order by 1 desc limit 1`,
    [table, `${table}_until_%`],
  )
  const [bound] = rows
  if (bound === undefined) throw new Error(`The rows of ${table} were not prepared`)
  return bound.month
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(MIGRATE)
  for (const { table } of PARTITIONED) {
    while ((await dropDetached(knex, table)) !== null);
    await knex.raw(`
      alter table ${table} rename to ${table}_parts;
      alter table ${table}_parts drop constraint ${table}_pkey;
      create table ${table} (like ${table}_parts including defaults including constraints including storage);
      insert into ${table} select * from ${table}_parts;
      drop table ${table}_parts;
      alter table ${table} add constraint ${table}_pkey primary key (conference_id, id);
      ${INDEXES[table]}
      ${RULES[table]}
    `)
    await protectByConference(knex, table)
  }
  await allowSystemTasks(knex, 'stripe_events', {
    read: ['metrics'],
    write: ['store-events', 'claim-events', 'prune'],
  })
  await allowSystemTasks(knex, 'webhook_deliveries', { write: ['prune'] })
  await knex.raw(`select set_config('app.system_task', '', true);`)
}
