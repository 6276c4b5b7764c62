import type { Knex } from 'knex'

/**
 * SQL that lets a table's rows be seen and written only under their conference, or by a named
 * system task. `force` makes it hold for the owner too, which is the role that the service uses.
 * Used by migrations, so its effect is frozen: a new rule is a new function.
 */
export async function protectByConference(
  knex: Knex,
  table: string,
  column = 'conference_id',
): Promise<void> {
  await knex.raw(`
    alter table ${table} enable row level security;
    alter table ${table} force row level security;
    create policy ${table.replace('.', '_')}_tenant on ${table}
      using (
        ${column} = current_setting('app.conference_id', true)
        or coalesce(current_setting('app.system_task', true), '') <> ''
      );
  `)
}
