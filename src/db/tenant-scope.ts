import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import pg from 'pg'
import type { Db, Tx } from './connect.ts'

/**
 * Work for more than one tenant. Its name is a setting of the transaction, by which row security
 * allows it. Each task has its own tables (migrations/0030_system_tasks.ts).
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

/** Tasks whose transactions refuse to write. */
const READ_ONLY_TASKS: ReadonlySet<SystemTask> = new Set(['resolve-conference', 'metrics'])

/**
 * Runs `work` in a transaction that sees only the rows of one conference. Row security in Postgres
 * separates the tenants (docs/decisions/0004), so a query without its `where` shows no row of another
 * tenant. All SQL of tenants runs through this function.
 */
export function withTenant<T>(
  db: Db,
  tenant: { conferenceId: string },
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  return scopedTransaction(db, { 'app.conference_id': tenant.conferenceId }, work)
}

/**
 * Like `withTenant`, and takes a lock in the message that begins the transaction: a round trip less for
 * each change of a purchase.
 *
 * @param lock one statement without parameters; write values into it with `literal`. Its rows are lost.
 */
export function withTenantLock<T>(
  db: Db,
  tenant: { conferenceId: string },
  lock: string,
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  return scopedTransaction(db, { 'app.conference_id': tenant.conferenceId }, work, `; ${lock}`)
}

/** Runs `work` in a transaction that sees the rows of all tenants in the tables of its task. */
export function withSystem<T>(db: Db, task: SystemTask, work: (trx: Tx) => Promise<T>): Promise<T> {
  return scopedTransaction(db, systemSettings(task), work)
}

/** Settings of a transaction, by name. */
type Settings = Record<string, string>

function systemSettings(task: SystemTask): Settings {
  const readOnly = READ_ONLY_TASKS.has(task) ? { transaction_read_only: 'on' } : {}
  return { 'app.system_task': task, ...readOnly }
}

function setStatement(settings: Settings): string {
  const calls = Object.entries(settings).map(
    ([name, value]) => `set_config('${name}', ${literal(value)}, true)`,
  )
  return `select ${calls.join(', ')}`
}

type Begin = { begin(connection: pg.Client): Promise<unknown> }

/**
 * Begins the transaction and sets its scope in one message: every transaction of the service has one
 * round trip less. A message without parameters may hold several statements; knex would send two.
 */
function scopedTransaction<T>(
  db: Db,
  settings: Settings,
  work: (trx: Tx) => Promise<T>,
  more = '',
): Promise<T> {
  if (db.isTransaction) throw new Error('A scope begins its own transaction')
  const message = `begin; ${setStatement(settings)}${more}`
  // knex returns its Transaction, and acquires the connection and begins only after that. Its types
  // say a promise.
  const transaction = db.transaction(work) as Promise<T> & Begin
  transaction.begin = async (connection) => {
    try {
      await connection.query(message)
    } catch (error) {
      // The transaction may be open. The pool closes a connection with this mark.
      Object.assign(connection, { __knex__disposed: error })
      throw error
    }
  }
  return transaction
}

/** A value as an SQL literal, escaped by pg. */
export function literal(value: string | number | boolean | null): string {
  if (value === null) return 'null'
  return typeof value === 'string' ? pg.escapeLiteral(value) : String(value)
}

/**
 * A long text, such as a page of objects, as an SQL literal in dollar quotes. They need no escaping,
 * which would take longer than all the work of Postgres on the page.
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
 * Runs one statement for one conference in one round trip: pages of objects, the ticket of a
 * reconcile, the Stripe key. Everything else uses withTenant, which binds values instead of writing them
 * into the SQL.
 *
 * @param sql one statement without parameters; write values into it with `literal`.
 * @param options.lazily does not wait for the disk. Use it only for work that is repeated after a
 * crash of the database server.
 */
export function tenantStatement<Row extends object>(
  db: Db,
  tenant: { conferenceId: string },
  sql: string,
  options: { lazily?: boolean } = {},
): Promise<Row[]> {
  const conference = { 'app.conference_id': tenant.conferenceId }
  const lazily = options.lazily ? { synchronous_commit: 'off' } : {}
  return scopedStatement(db, { ...conference, ...lazily }, sql)
}

/**
 * Runs one statement for all tenants in one round trip, for the reads that precede every request.
 * Everything else uses withSystem.
 *
 * @param sql one statement without parameters; write values into it with `literal`.
 */
export function systemStatement<Row extends object>(
  db: Db,
  task: SystemTask,
  sql: string,
): Promise<Row[]> {
  return scopedStatement(db, systemSettings(task), sql)
}

/**
 * Postgres runs the statements of one message as one transaction, so the settings hold for this
 * statement only.
 *
 * @see https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
 */
async function scopedStatement<Row extends object>(
  db: Db,
  settings: Settings,
  sql: string,
): Promise<Row[]> {
  // Not with knex, because knex treats every question mark in the text as a parameter.
  const connection = (await db.client.acquireConnection()) as pg.Client // what knex's pg pool holds
  try {
    // pg returns two results for a message with two statements, but its types do not say so.
    const answer = (await connection.query(`${setStatement(settings)};${sql}`)) as unknown
    const [, result] = answer as [pg.QueryResult, pg.QueryResult<Row>]
    return result.rows
  } finally {
    await db.client.releaseConnection(connection)
  }
}

/**
 * Adds row security to a table: only transactions of its conference see and write a row. Timers, which
 * search all conferences for overdue work, may read it; `migrate` is for migrations, `debug` for a
 * person. For other tasks see `allowSystemTasks`. `force` applies the rules to the owner too, which is
 * the role of the service.
 */
export async function protectByConference(
  knex: Knex,
  table: string,
  column = 'conference_id',
): Promise<void> {
  const name = table.replace('.', '_')
  await knex.raw(`
    alter table ${table} enable row level security;
    alter table ${table} force row level security;
    create policy ${name}_tenant on ${table}
      using (${column} = current_setting('app.conference_id', true) or ${isTask(['migrate'])});
    create policy ${name}_search on ${table} for select using (${isTask(['timers', 'debug'])});
  `)
}

/**
 * Lets system tasks read or write a table of all conferences, in addition to `protectByConference`.
 * Call it once for a table.
 */
export async function allowSystemTasks(
  knex: Knex,
  table: string,
  { read = [], write = [] }: { read?: readonly SystemTask[]; write?: readonly SystemTask[] },
): Promise<void> {
  const policy = (kind: string, tasks: readonly SystemTask[], command: string) =>
    tasks.length === 0
      ? ''
      : `create policy ${table}_${kind} on ${table} for ${command} using (${isTask(tasks)});`
  await knex.raw(policy('read_by_tasks', read, 'select') + policy('written_by_tasks', write, 'all'))
}

const isTask = (names: readonly string[]) =>
  `current_setting('app.system_task', true) in (${names.map(literal).join(', ')})`

type Role = { name: string; superuser: boolean; bypasses: boolean }

/**
 * The reason why row security does not apply to the role of this connection, or null when it applies.
 *
 * @see https://www.postgresql.org/docs/current/ddl-rowsecurity.html
 */
export async function findRowSecurityBypass(db: Db): Promise<string | null> {
  const role = await db('pg_roles')
    .whereRaw('rolname = current_user')
    .first<Role>('rolname as name', 'rolsuper as superuser', 'rolbypassrls as bypasses')
  const attribute = role.superuser ? 'a superuser' : role.bypasses ? 'a BYPASSRLS role' : null
  if (attribute === null) return null
  return `The database role ${role.name} is ${attribute}, to which row security does not apply, so conferences would not be separated. Use a role in DATABASE_URL that owns the database and has neither attribute.`
}
