import type { EventEmitter } from 'node:events'
import knexFactory, { type Knex } from 'knex'
import pg from 'pg'
import { READ_ONLY } from './pg-errors.ts'
import { pipelineStatements } from './pipeline.ts'
import { type StatementWatchOptions, watchStatements } from './statement-watch.ts'

export type Db = Knex
export type Tx = Knex.Transaction

/** SQL for the database's clock, in microseconds since 1970, UTC. */
export const DATABASE_NOW_SQL = `(extract(epoch from clock_timestamp()) * 1000000)::bigint`

const INT8 = 20
const INT8_ARRAY = 1016
const NUMERIC = 1700

/** Type parsers for the connections of this service. The global ones of pg stay as they are. */
const PG_TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (format !== 'binary' && oid === INT8) return parseInteger
    if (format !== 'binary' && oid === NUMERIC) return Number
    if (format !== 'binary' && oid === INT8_ARRAY) return parseIntegers
    return pg.types.getTypeParser(oid, format)
    // The declared type has one overload per oid, which a function cannot satisfy.
  }) as pg.CustomTypesConfig['getTypeParser'],
}

// pg returns bigint and numeric as text, because they may not fit a double. Ours fit: a payment has at
// most eight digits, a percentage two decimals. A value that does not fit must not pass silently.
function parseInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is not a safe integer`)
  return value
}

function parseIntegers(text: string): number[] {
  const list = text.slice(1, -1)
  return list === '' ? [] : list.split(',').map(parseInteger)
}

export type PoolOptions = {
  max?: number
  /** How long a caller waits for a connection before the request fails with 503. */
  acquireTimeoutMs?: number
  /** Absent: false, as a pooler needs it that cannot keep prepared statements, such as PgBouncer before 1.21. */
  prepareStatements?: boolean
  applicationName?: string
  /** How long a statement waits for a lock before it fails. Absent: as long as the server allows. */
  lockTimeoutMs?: number
  /** Logs lost connections. The query that needed one reports it too. */
  logger?: { debug(details: object, message: string): void }
  /** Absent: slow statements are not logged, and no trace shows statements. */
  watch?: StatementWatchOptions
}

/**
 * A pool of connections to one database. It opens none before the first query. So it never fails
 * itself, and a process that starts before its database recovers without help.
 */
export function connect(connectionString: string, options: PoolOptions = {}): Db {
  return knexFactory({
    client: 'pg',
    connection: {
      connectionString,
      application_name: options.applicationName ?? 'sponsor-vouchers',
      types: PG_TYPES,
      pipeline: true,
      // A dead server must cause an error, not a request that hangs.
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
      ...(options.lockTimeoutMs === undefined ? {} : { lock_timeout: options.lockTimeoutMs }),
    } as Knex.PgConnectionConfig,
    pool: {
      min: 0,
      max: options.max ?? 10,
      afterCreate(connection: pg.Client, done: (error: null, connection: pg.Client) => void) {
        pipelineStatements(connection, {
          prepare: options.prepareStatements === true,
          ...(options.watch === undefined ? {} : { watch: watchStatements(options.watch) }),
        })
        dropOnceReadOnly(connection)
        done(null, connection)
      },
    },
    acquireConnectionTimeout: options.acquireTimeoutMs ?? 8_000,
    // By default, knex prints to standard output, between our lines of JSON.
    log: knexLog(options.logger),
  })
}

/**
 * After a failover, a connection may lead to a server that was the primary. The pool closes it as soon as that server
 * refuses to write, and the next one leads to the new primary.
 */
function dropOnceReadOnly(connection: pg.Client): void {
  // Not in pg's types.
  const { connection: messages } = connection as unknown as { connection: EventEmitter }
  messages.on('errorMessage', (error: { code?: string }) => {
    if (error.code === READ_ONLY) Object.assign(connection, { __knex__disposed: error })
  })
}

/** The kinds of work of a process. Each has its own connections. */
export type WorkKind = 'api' | 'webhooks' | 'exports' | 'jobs'

const SHARES: Record<WorkKind, number> = { api: 4, webhooks: 2, exports: 1, jobs: 3 }

/**
 * Divides the connections of a process among the kinds of work that it does. A kind that is busy or
 * waits for a slow reader cannot take the connections of another. Each kind has one at least.
 */
export function divideConnections(
  total: number,
  role: 'all' | 'serve' | 'work',
): Record<WorkKind, number> {
  const isDone = (kind: WorkKind) => role === 'all' || (kind === 'jobs') === (role === 'work')
  const kinds = (['webhooks', 'exports', 'jobs', 'api'] as const).filter(isDone)
  const sum = kinds.reduce((all, kind) => all + SHARES[kind], 0)
  const divided = { api: 0, webhooks: 0, exports: 0, jobs: 0 }
  let left = total
  for (const kind of kinds) {
    // The last kind gets what rounding leaves.
    const share = kind === kinds.at(-1) ? left : Math.round((total * SHARES[kind]) / sum)
    divided[kind] = Math.max(1, share)
    left -= divided[kind]
  }
  return divided
}

function knexLog(logger: PoolOptions['logger']): Knex.Logger {
  const write = (message: unknown) => logger?.debug({ from: 'knex' }, String(message))
  return { warn: write, error: write, deprecate: write, debug: write }
}
