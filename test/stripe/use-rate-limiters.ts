import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { afterAll } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { createLogger } from '../../src/shared/logger.ts'
import {
  createStripeRateLimiter,
  type StripeRateLimiter,
  type StripeRateLimiterOptions,
} from '../../src/stripe/stripe-rate-limiter.ts'
import { useTestDatabase } from '../support/test-database.ts'

type Options = Partial<
  Pick<StripeRateLimiterOptions, 'requestsPerSecond' | 'burst' | 'maxWaitSeconds'>
> & {
  /** Delay added to each statement. */
  latencyMs?: number
}

/** The rate limiter of a separate process, with its own pool. */
export type ProcessRateLimiter = StripeRateLimiter & {
  db: Db
  /** Every SQL statement that the process sent. */
  statements: string[]
  /** What it logged. */
  log: string[]
}

export type RateLimiters = {
  /** Default: 20 requests a second, burst of 1. */
  process(options?: Options): ProcessRateLimiter
  /** A process whose database cannot be reached. */
  cutOff(): ProcessRateLimiter
  rows<Row>(sql: string, bindings?: string[]): Promise<Row[]>
}

export const newAccount = () => `acct_${randomUUID().slice(0, 8)}`

/** The same database behind a slow network. */
function farAway(db: Db, latencyMs: number): Db {
  if (latencyMs === 0) return db
  const raw = async (sql: string, bindings: Record<string, string | number>) => {
    await setTimeout(latencyMs)
    return db.raw(sql, bindings)
  }
  // The rate limiter uses only `raw`.
  return { raw } as unknown as Db
}

/** Processes that share one database, for the tests of this file. */
export function useRateLimiters(): RateLimiters {
  const database = useTestDatabase()
  const pools: Db[] = []
  afterAll(() => Promise.all(pools.map((db) => db.destroy())))

  function open(
    connectionString: string,
    { latencyMs = 0, ...options }: Options,
  ): ProcessRateLimiter {
    const db = connect(connectionString, { max: 2 })
    pools.push(db)
    const statements: string[] = []
    db.on('query', ({ sql }: { sql: string }) => void statements.push(sql))
    const log: string[] = []
    const logger = createLogger('trace', { write: (line) => void log.push(line) })
    const limits = { requestsPerSecond: 20, burst: 1, ...options }
    return {
      ...createStripeRateLimiter({ db: farAway(db, latencyMs), logger, ...limits }),
      db,
      statements,
      log,
    }
  }

  return {
    process: (options = {}) => open(database.connectionString, options),
    cutOff: () => open('postgres://nobody@127.0.0.1:9/nowhere', {}),
    async rows<Row>(sql: string, bindings: string[] = []) {
      const [db] = pools
      if (db === undefined) throw new Error('There are no rows before the first process.')
      return (await db.raw<{ rows: Row[] }>(sql, bindings)).rows
    },
  }
}
