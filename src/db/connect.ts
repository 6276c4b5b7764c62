import knexFactory, { type Knex } from 'knex'
import pg from 'pg'

export type Db = Knex
export type Tx = Knex.Transaction

const INT8 = 20
const NUMERIC = 1700

// pg returns bigint and numeric as text, because they may not fit a double. Ours do: money is at
// most eight digits a payment, and a percentage has two decimals. What does not fit must not pass
// silently.
function parseInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} does not fit a safe integer`)
  return value
}

/** Type parsers for this service's own connections; the pg module's global ones stay untouched. */
const PG_TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (format !== 'binary' && oid === INT8) return parseInteger
    if (format !== 'binary' && oid === NUMERIC) return Number
    return pg.types.getTypeParser(oid, format)
    // The declared type is an overload per oid, which no function of our own can satisfy.
  }) as pg.CustomTypesConfig['getTypeParser'],
}

export type PoolOptions = {
  max?: number
  /** How long a caller waits for a connection before the request fails as 503. Milliseconds. */
  acquireTimeoutMs?: number
  applicationName?: string
  /** Hears of lost connections, which the query that needed one reports as well. */
  logger?: { debug(details: object, message: string): void }
}

/**
 * A pool on one database. Nothing is opened before the first query, so this never fails by itself
 * and a process started before its database comes up recovers without help.
 */
export function connect(connectionString: string, options: PoolOptions = {}): Db {
  return knexFactory({
    client: 'pg',
    connection: {
      connectionString,
      application_name: options.applicationName ?? 'sponsor-vouchers',
      types: PG_TYPES,
      // A dead server must surface as an error and not as a request that hangs.
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    } as Knex.PgConnectionConfig,
    pool: { min: 0, max: options.max ?? 10 },
    acquireConnectionTimeout: options.acquireTimeoutMs ?? 8_000,
    // By itself knex prints on standard output, in between our lines of JSON.
    log: knexLog(options.logger),
  })
}

function knexLog(logger: PoolOptions['logger']): Knex.Logger {
  const write = (message: unknown) => logger?.debug({ from: 'knex' }, String(message))
  return { warn: write, error: write, deprecate: write, debug: write }
}
