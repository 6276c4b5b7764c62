import type { Knex } from 'knex'

const TABLES = ['conferences', 'webhook_secrets']

/**
 * The insert of events checks the conference and the webhook secret that verified them, which a process
 * remembers.
 */
export async function up(knex: Knex): Promise<void> {
  for (const table of TABLES) {
    await knex.raw(`
      create policy ${table}_check_webhooks on ${table} for select
        using (current_setting('app.system_task', true) = 'store-events')`)
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const table of TABLES) await knex.raw(`drop policy ${table}_check_webhooks on ${table}`)
}
