import type { Knex } from 'knex'
import type { Db } from '../db/connect.ts'

/**
 * When a reading of Stripe was requested, by our database's clock: microseconds since 1970, UTC.
 * The greatest wins, so every process must take it from the same clock, and before it asks Stripe.
 * A number holds it exactly until the year 2255.
 */
export type FetchTime = number

/** SQL for the database's clock as a ReadingTime. */
export const DATABASE_NOW_SQL = `(extract(epoch from clock_timestamp()) * 1000000)::bigint`

/** SQL that turns a ReadingTime, given as text of SQL, into a timestamptz without rounding. */
export const toTimestampSql = (sql: string) =>
  `(timestamptz 'epoch' + ${sql} * interval '1 microsecond')`

/** The database's clock now. To be called right before a reading is requested. */
export async function databaseNow(db: Db | Knex.Transaction): Promise<FetchTime> {
  const { rows } = await db.raw<{ rows: { now: number }[] }>(`select ${DATABASE_NOW_SQL} as now`)
  const [row] = rows
  if (row === undefined) throw new Error('The database did not tell the time.')
  return row.now
}

/**
 * Follows the database's clock between answers of the database, for readings that must not wait for
 * a round trip of their own. What it tells is never later than the database's clock: the answer was
 * on its way when we got it.
 */
export type DatabaseClock = { now(): FetchTime; follow(answered: FetchTime): void }

export function trackDatabaseClock(answered: FetchTime): DatabaseClock {
  let anchor = { answered, at: performance.now() }
  const now = () => anchor.answered + Math.floor((performance.now() - anchor.at) * 1000)
  return {
    now,
    follow(answered) {
      // Two answers may overtake each other; time must not run back.
      if (answered > now()) anchor = { answered, at: performance.now() }
    },
  }
}
