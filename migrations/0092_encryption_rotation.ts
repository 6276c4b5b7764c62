import type { Knex } from 'knex'

/** The tables with encrypted values and row security. */
const SEALED = [
  'conferences',
  'webhook_secrets',
  'webhook_endpoints',
  'idempotency_keys',
  'erasures',
] as const

const TASK = `current_setting('app.system_task', true) = 'rotate-encryption'`
const CONDITION = `when (coalesce(current_setting('app.system_task', true), '') <> 'rotate-encryption') `

/**
 * The task that encrypts values again under a new key may write every table that has some. It changes no
 * secret, so the audit log does not record it: a condition of the triggers, which are made again for it.
 */
export async function up(knex: Knex): Promise<void> {
  for (const table of SEALED) {
    await knex.raw(`create policy ${table}_rotated on ${table} using (${TASK});`)
  }
  await recreateAuditTriggers(knex, (definition) =>
    definition.replace('EXECUTE FUNCTION', `${CONDITION} EXECUTE FUNCTION`),
  )
}

export async function down(knex: Knex): Promise<void> {
  await recreateAuditTriggers(knex, (definition) =>
    definition.replace(/WHEN \(.*\) EXECUTE FUNCTION/s, 'EXECUTE FUNCTION'),
  )
  for (const table of SEALED) await knex.raw(`drop policy ${table}_rotated on ${table};`)
}

async function recreateAuditTriggers(
  knex: Knex,
  change: (definition: string) => string,
): Promise<void> {
  for (const table of SEALED) {
    const name = `${table}_recorded`
    const { rows } = await knex.raw<{ rows: { definition: string }[] }>(
      `select pg_get_triggerdef(oid) as definition from pg_trigger
       where tgname = ? and tgrelid = ?::regclass`,
      [name, table],
    )
    for (const { definition } of rows) {
      await knex.raw(`drop trigger ${name} on ${table}`)
      // Not a question mark of knex.
      await knex.raw(change(definition).replaceAll('?', String.raw`\?`))
    }
  }
}
