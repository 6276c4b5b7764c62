import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { afterAll } from 'vitest'
import { connect, type Db } from '../../../src/db/connect.ts'
import { createLogger } from '../../../src/shared/logger.ts'
import {
  createStripeRateLimiter,
  type StripeRateLimiter,
  type StripeRateLimiterOptions,
} from '../../../src/stripe/rate-limit/stripe-rate-limiter.ts'
import { useTestDatabase } from '../../support/test-database.ts'

type Options = Partial<Pick<StripeRateLimiterOptions, 'requestsPerSecond' | 'burst'>> & {
  /** How long a statement is on its way. */
  latencyMs?: number
}

/** A budget as a process of its own has it, with its own pool. */
export type ProcessBudget = StripeRateLimiter & {
  db: Db
  /** Every statement that the process sent. */
  statements: string[]
  /** What it logged. */
  log: string[]
}

export type Budgets = {
  /** 20 requests a second, one at a time, unless told otherwise. */
  process(options?: Options): ProcessBudget
  /** A process whose database cannot be reached. */
  cutOff(): ProcessBudget
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
  // The budget uses nothing else of it.
  return { raw } as unknown as Db
}

/** Processes that share one database, for the tests of this file. */
export function useBudgets(): Budgets {
  const database = useTestDatabase()
  const pools: Db[] = []
  afterAll(() => Promise.all(pools.map((db) => db.destroy())))

  function open(connectionString: string, { latencyMs = 0, ...options }: Options): ProcessBudget {
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
