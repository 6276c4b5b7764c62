import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import pg from 'pg'
import type { Db, Tx } from './connect.ts'

/**
 * Work that belongs to no single tenant. The name goes into the session, so that row security lets
 * it pass and `pg_stat_activity`-style debugging shows who asked.
 */
export type SystemTask =
  | 'authenticate'
  | 'resolve-conference'
  | 'manage-conferences'
  | 'store-events'
  | 'claim-events'
  | 'timers'
  | 'metrics'
  | 'prune'
  | 'migrate'

/**
 * Runs `work` in a transaction that sees only one conference's rows. Row security in Postgres does
 * the separation (docs/decisions/0004), so a store function that forgets its `where` shows nothing
 * of another tenant. All tenant SQL goes through here.
 */
export function withTenant<T>(
  db: Db,
  tenant: { conferenceId: string },
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  return db.transaction(async (trx) => {
    await trx.raw(`select set_config('app.conference_id', ?, true)`, [tenant.conferenceId])
    return work(trx)
  })
}

/** Runs `work` in a transaction that sees the rows of every tenant, under the name of its task. */
export function withSystem<T>(db: Db, task: SystemTask, work: (trx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (trx) => {
    await trx.raw(`select set_config('app.system_task', ?, true)`, [task])
    return work(trx)
  })
}

/** A value as a literal of SQL, escaped by pg itself. */
export function literal(value: string | number | boolean | null): string {
  if (value === null) return 'null'
  return typeof value === 'string' ? pg.escapeLiteral(value) : String(value)
}

/**
 * A long text, such as a page of objects, as a literal of SQL: between dollar quotes nothing needs
 * to be escaped, which otherwise takes longer than everything that Postgres does with the page.
 *
 * @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-DOLLAR-QUOTING
 */
export function longLiteral(text: string): string {
  const newQuote = () => `$p${randomBytes(8).toString('hex')}$`
  let quote = newQuote()
  while (`${text}$`.includes(quote)) quote = newQuote()
  return `${quote}${text}${quote}`
}

/**
 * Runs one statement inside one conference, in one round trip: Postgres takes several statements of
 * one message as one transaction, so the tenant's name holds for ours and is gone after it. For what
 * is written page by page; everything else uses withTenant, where values are bound and not written
 * into the text.
 *
 * @param sql one statement without parameters; values are put into it by `literal`.
 * @param options.lazily does not wait for the disk. For what a crash of the server may undo because
 * it will be done again from where that leaves it.
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
 */
export async function tenantStatement<Row extends object>(
  db: Db,
  tenant: { conferenceId: string },
  sql: string,
  options: { lazily?: boolean } = {},
): Promise<Row[]> {
  // Not through knex, which takes every question mark in the text for a parameter.
  const connection = (await db.client.acquireConnection()) as pg.Client // what knex's pg pool holds
  try {
    const lazily = options.lazily ? `, set_config('synchronous_commit', 'off', true)` : ''
    const message = `select set_config('app.conference_id', ${literal(tenant.conferenceId)}, true)${lazily};`
    // pg answers a message of two statements with two results, which its types do not say.
    const answer = (await connection.query(message + sql)) as unknown
    const [, result] = answer as [pg.QueryResult, pg.QueryResult<Row>]
    return result.rows
  } finally {
    await db.client.releaseConnection(connection)
  }
}

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

type Role = { name: string; superuser: boolean; bypasses: boolean }

/**
 * Why Postgres would not keep tenants apart for the role that we connect as, or null when it does.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
export async function findRowSecurityBypass(db: Db): Promise<string | null> {
  const role = await db('pg_roles')
    .whereRaw('rolname = current_user')
    .first<Role>('rolname as name', 'rolsuper as superuser', 'rolbypassrls as bypasses')
  const attribute = role.superuser ? 'a superuser' : role.bypasses ? 'a BYPASSRLS role' : null
  if (attribute === null) return null
  return `The database role ${role.name} is ${attribute}, for which row security does not keep conferences apart. Let DATABASE_URL name an ordinary role that owns its database.`
}
