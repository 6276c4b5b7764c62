import type { Knex } from 'knex'

/** What the foreign keys of partitions (0082) refer to. */
const REFERRED = ['conferences', 'webhook_endpoints']

/** A lock of `conferences` stops every request, so it ends before the next one is taken. */
export const config = { transaction: false }

/** A partition that gets rows is checked against the rows that they refer to, as the role of the service. */
export async function up(knex: Knex): Promise<void> {
  for (const table of REFERRED) {
    // A run that crashed may have made it. The statements of one text are one transaction.
    await knex.raw(`
      drop policy if exists ${table}_of_partitions on ${table};
      create policy ${table}_of_partitions on ${table} for select
        using (current_setting('app.system_task', true) in ('partitions'));
    `)
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const table of REFERRED) {
    await knex.raw(`drop policy if exists ${table}_of_partitions on ${table}`)
  }
}
