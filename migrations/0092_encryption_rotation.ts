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

/** Requests use these tables in different orders, so each one is locked alone. */
export const config = { transaction: false }

/**
 * The task that encrypts values again under a new key may write every table that has some. It changes no
 * secret, so the audit log does not record it: a condition of the triggers, which are made again for it.
 */
export async function up(knex: Knex): Promise<void> {
  for (const table of SEALED) {
    await change(knex, table, {
      policy: `create policy ${table}_rotated on ${table} using (${TASK});`,
      trigger: (definition) =>
        definition.replace('EXECUTE FUNCTION', `${CONDITION} EXECUTE FUNCTION`),
    })
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const table of SEALED) {
    await change(knex, table, { policy: '', trigger: (definition) => definition })
  }
}

type Change = { policy: string; trigger: (definition: string) => string }

/** Replaces what a table has of this migration. A run that crashed may have made it. */
async function change(knex: Knex, table: string, { policy, trigger }: Change): Promise<void> {
  const name = `${table}_recorded`
  const { rows } = await knex.raw<{ rows: { definition: string }[] }>(
    `select pg_get_triggerdef(oid) as definition from pg_trigger
     where tgname = ? and tgrelid = ?::regclass`,
    [name, table],
  )
  const triggers = rows.map(({ definition }) => {
    const before = definition.replace(/WHEN \(.*\) EXECUTE FUNCTION/s, 'EXECUTE FUNCTION')
    return `drop trigger ${name} on ${table}; ${trigger(before)};`
  })
  // One text is one transaction. Not the question marks of knex.
  const sql = `
    drop policy if exists ${table}_rotated on ${table};
    ${policy}
    ${triggers.join('\n')}`
  await knex.raw(sql.replaceAll('?', String.raw`\?`))
}
