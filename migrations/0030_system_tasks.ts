import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

type Policies = { table: string; column: string; policies: string[] }

/** The tables with row security, with their policies. */
async function protectedTables(knex: Knex): Promise<Policies[]> {
  const { rows } = await knex.raw<{ rows: Policies[] }>(`
    select case schemaname when 'public' then tablename else schemaname || '.' || tablename end as "table",
      case tablename when 'conferences' then 'id' else 'conference_id' end as "column",
      array_agg(policyname::text) as policies
    from pg_policies where schemaname in ('public', 'stripe')
    group by schemaname, tablename`)
  return rows
}

async function dropPolicies(knex: Knex, { table, policies }: Policies): Promise<void> {
  for (const policy of policies) await knex.raw('drop policy ?? on ??', [policy, table])
}

/**
 * Until now a transaction of any system task could read and write every table. From here on, each task
 * has its tables.
 */
export async function up(knex: Knex): Promise<void> {
  for (const found of await protectedTables(knex)) {
    await dropPolicies(knex, found)
    await protectByConference(knex, found.table, found.column)
  }
  // No timer needs the tables with secrets.
  for (const table of ['api_keys', 'webhook_secrets', 'idempotency_keys']) {
    await knex.raw(`drop policy ${table}_search on ${table}`)
  }
  await allowSystemTasks(knex, 'api_keys', { write: ['authenticate', 'manage-conferences'] })
  await allowSystemTasks(knex, 'conferences', {
    read: ['resolve-conference', 'metrics'],
    write: ['manage-conferences'],
  })
  await allowSystemTasks(knex, 'webhook_secrets', {
    read: ['resolve-conference'],
    write: ['manage-conferences'],
  })
  await allowSystemTasks(knex, 'idempotency_keys', { write: ['manage-conferences', 'prune'] })
  await allowSystemTasks(knex, 'stripe_events', {
    read: ['metrics'],
    write: ['store-events', 'claim-events', 'prune'],
  })
  for (const table of ['bulk_purchases', 'payment_attempts', 'payments']) {
    await allowSystemTasks(knex, table, { read: ['claim-events'] })
  }
  await allowSystemTasks(knex, 'purchase_flags', { read: ['metrics'] })
  for (const table of ['sync_runs', 'sync_run_ids']) {
    await allowSystemTasks(knex, table, { write: ['timers', 'prune'] })
  }
  for (const table of ['webhook_deliveries', 'discount_changes']) {
    await allowSystemTasks(knex, table, { write: ['prune'] })
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const found of await protectedTables(knex)) {
    await dropPolicies(knex, found)
    await knex.raw(`
      create policy ${found.table.replace('.', '_')}_tenant on ${found.table}
        using (
          ${found.column} = current_setting('app.conference_id', true)
          or coalesce(current_setting('app.system_task', true), '') <> ''
        )`)
  }
}
