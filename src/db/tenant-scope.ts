import type { Knex } from 'knex'
import pg from 'pg'
import type { Actor } from '../shared/caller.ts'
import type { Db, Tx } from './connect.ts'
import { PREPARED, type Statement, untilAllEnd } from './pipeline.ts'
import { checkReplica, type ReplicaCondition } from './replica-condition.ts'

/** A database for reads. Its transactions refuse to write. */
export type ReadOnlyDb = {
  readonly pool: Db
  /** What a replica must show before it is read. Null: the pool is that of the primary. */
  readonly replica: ReplicaCondition | null
}

/** Where a read runs. Work that takes it begins its own transactions. */
export type ReadDb = Db | ReadOnlyDb

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
  | 'list-purchases'
  | 'prune'
  | 'partitions'
  | 'end-holds'
  | 'rotate-encryption'

/** Tasks whose transactions refuse to write. */
const READ_ONLY_TASKS: ReadonlySet<SystemTask> = new Set([
  'resolve-conference',
  'metrics',
  'list-purchases',
])

/**
 * Runs `work` in a transaction that sees only the rows of one conference. Row security in Postgres
 * separates the tenants (docs/decisions/0004), so a query without its `where` shows no row of another
 * tenant. All SQL of tenants runs through this function.
 *
 * @param tenant its actor is the one of the audit log.
 * @param settings of Postgres, for this transaction.
 */
export function withTenant<T>(
  db: ReadDb,
  tenant: Tenant,
  work: (trx: Tx) => Promise<T>,
  settings: Readonly<Record<string, string>> = {},
): Promise<T> {
  return scopedTransaction(db, { ...tenantSettings(tenant), ...settings }, work)
}

/** A conference, and who acts in it. */
type Tenant = { conferenceId: string; actor?: Actor }

const tenantSettings = ({ conferenceId, actor }: Tenant): Settings => ({
  'app.conference_id': conferenceId,
  ...actorSetting(actor),
})

// Migration 0073 reads it.
const actorSetting = (actor: Actor | undefined): Settings =>
  actor === undefined ? {} : { 'app.actor': `${actor.kind}:${actor.id}` }

/**
 * Runs `work` in a transaction that sees the rows of all tenants in the tables of its task.
 *
 * @param actor for the audit log.
 */
export function withSystem<T>(
  db: ReadDb,
  task: SystemTask,
  work: (trx: Tx) => Promise<T>,
  actor?: Actor,
): Promise<T> {
  return scopedTransaction(db, { ...systemSettings(task), ...actorSetting(actor) }, work)
}

/**
 * Runs `work` in the scope of what owns an object: a conference, or with null the platform, to which operators
 * and their keys belong.
 *
 * @param actor for the audit log.
 */
export function withOwner<T>(
  db: Db,
  { conferenceId, actor }: { conferenceId: string | null; actor?: Actor },
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  return conferenceId === null
    ? withSystem(db, 'manage-conferences', work, actor)
    : withTenant(db, { conferenceId, ...(actor === undefined ? {} : { actor }) }, work)
}

/** Settings of a transaction, by name. */
type Settings = Record<string, string>

function systemSettings(task: SystemTask): Settings {
  const readOnly = READ_ONLY_TASKS.has(task) ? { transaction_read_only: 'on' } : {}
  return { 'app.system_task': task, ...readOnly, ...(task === 'list-purchases' ? PAGE_PLANS : {}) }
}

/**
 * A page follows an index. By the conditions of row security, Postgres expects so few rows of all tenants that it
 * would rather sort them; and parallel workers take longer to start than to read a page.
 */
const PAGE_PLANS: Settings = { enable_sort: 'off', max_parallel_workers_per_gather: '0' }

/**
 * Begins a transaction and sets its scope, in one message. Statements follow before its answer, so it must
 * not fail: the names are ours, and the values are escaped.
 */
function beginStatement(settings: Settings): string {
  const sets = Object.entries(settings).map(
    // Cheaper than `select set_config`, which is planned and returns a row.
    ([name, value]) => `set local ${name} = ${pg.escapeLiteral(value)}`,
  )
  return ['begin', ...sets].join('; ')
}

function scopeOf(db: ReadDb, settings: Settings) {
  const { pool, replica } = 'replica' in db ? db : { pool: db, replica: null }
  const readOnly = 'replica' in db ? { transaction_read_only: 'on' } : {}
  return { pool, replica, begin: beginStatement({ ...settings, ...readOnly }) }
}

type Begin = { begin(connection: pg.Client): Promise<unknown> }

/** The first statement does not wait for the beginning: both are one round trip. */
async function scopedTransaction<T>(
  db: ReadDb,
  settings: Settings,
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  const { pool, begin, replica } = scopeOf(db, settings)
  if (pool.isTransaction) throw new Error('A scope begins its own transaction')
  // knex returns its Transaction, and acquires the connection and begins only after that. Its types
  // say a promise.
  const transaction = pool.transaction(work) as Promise<T> & Begin
  const failures: unknown[] = []
  transaction.begin = async (connection) => {
    connection.query(begin).catch((error: unknown) => {
      failures.push(error)
      // The transaction may be open. The pool closes a connection with this mark.
      Object.assign(connection, { __knex__disposed: error })
    })
    if (replica !== null) {
      checkReplica(connection, replica).catch((error: unknown) => failures.push(error))
    }
  }
  const [ended] = await Promise.allSettled([transaction])
  // Without a beginning, the other statements fail too, for less obvious reasons.
  if (failures.length > 0) throw failures[0]
  if (ended.status === 'rejected') throw ended.reason
  return ended.value
}

/** Adds a value to a statement and returns the parameter that stands for it. */
export type Bind = (value: Bound | readonly Bound[]) => string

/** What pg can send. */
type Bound = string | number | boolean | Buffer | Date | null

/**
 * Runs one statement for one conference in one round trip: pages of objects, the ticket of a
 * reconcile, the Stripe key. Everything else uses withTenant.
 *
 * @param write writes the SQL. It binds every value.
 * @param options.lazily does not wait for the disk. Use it only for work that is repeated after a
 * crash of the database server.
 */
export function tenantStatement<Row extends object>(
  db: ReadDb,
  tenant: { conferenceId: string },
  write: (bind: Bind) => string,
  options: { lazily?: boolean } = {},
): Promise<Row[]> {
  const conference = { 'app.conference_id': tenant.conferenceId }
  const lazily = options.lazily ? { synchronous_commit: 'off' } : {}
  return scopedStatement(db, { ...conference, ...lazily }, write)
}

/**
 * Runs one statement for all tenants in one round trip, for the reads that precede every request.
 * Everything else uses withSystem.
 *
 * @param write writes the SQL. It binds every value.
 */
export function systemStatement<Row extends object>(
  db: Db,
  task: SystemTask,
  write: (bind: Bind) => string,
): Promise<Row[]> {
  return scopedStatement(db, systemSettings(task), write)
}

/**
 * Runs statements for one conference one after the other, in one transaction and one round trip: none may
 * depend on the answer to another one.
 *
 * @param statements build them with `db`; all of them find rows by key.
 * @returns the rows of each.
 */
export async function tenantStatements<Rows extends unknown[][]>(
  db: Db,
  tenant: { conferenceId: string },
  statements: { [K in keyof Rows]: Statement },
): Promise<Rows> {
  const built = statements.map((statement) => {
    const { sql, bindings } = statement.toSQL().toNative()
    return { text: sql, values: [...bindings] }
  })
  // The caller says what its statements return, as with knex.
  return (await sendScoped(db, { 'app.conference_id': tenant.conferenceId }, built)) as Rows
}

async function scopedStatement<Row extends object>(
  db: ReadDb,
  settings: Settings,
  write: (bind: Bind) => string,
): Promise<Row[]> {
  const values: Parameters<Bind>[0][] = []
  const text = write((value) => `$${values.push(value)}`)
  const [rows] = await sendScoped(db, settings, [{ text, values }])
  return rows as Row[] // what the caller says that it selects
}

/** Sends statements together with the beginning and the end of their transaction. */
async function sendScoped(
  db: ReadDb,
  settings: Settings,
  statements: readonly { text: string; values: unknown[] }[],
): Promise<unknown[][]> {
  const { pool, begin, replica } = scopeOf(db, settings)
  // Not with knex, which sends the end only after the answer to the statement.
  const connection = (await pool.client.acquireConnection()) as pg.Client // what knex's pg pool holds
  try {
    const begun: Promise<unknown> = connection.query(begin)
    const checked = replica === null ? [] : [checkReplica(connection, replica)]
    const answers = statements.map((each) => connection.query({ ...each, ...PREPARED }))
    // After an error, Postgres rolls back instead.
    const ended = connection.query('commit')
    await untilAllEnd<unknown>([begun, ...checked, ...answers, ended])
    return (await Promise.all(answers)).map(({ rows }) => rows as unknown[])
  } finally {
    await pool.client.releaseConnection(connection)
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
  `current_setting('app.system_task', true) in (${names.map((name) => `'${name}'`).join(', ')})`

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
