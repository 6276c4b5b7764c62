import type { Knex } from 'knex'
import { DATABASE_NOW_SQL, type Db } from '../db/connect.ts'

/**
 * The time at which an object was requested from Stripe, in microseconds since 1970, UTC. The row with
 * the greatest fetch time wins, so every process must read it from the database clock, and before it
 * sends the request. A JavaScript number is exact until the year 2255.
 */
export type FetchTime = number

/** SQL that converts a FetchTime, given as SQL text, into a timestamptz without rounding. */
export const toTimestampSql = (sql: string) =>
  `(timestamptz 'epoch' + ${sql} * interval '1 microsecond')`

/** Reads the database clock. Call it right before a request to Stripe. */
export async function databaseNow(db: Db | Knex.Transaction): Promise<FetchTime> {
  const { rows } = await db.raw<{ rows: { now: number }[] }>(`select ${DATABASE_NOW_SQL} as now`)
  const [row] = rows
  if (row === undefined) throw new Error('The database returned no time.')
  return row.now
}

/**
 * A local copy of the database clock, for requests that should not wait for a round trip to the
 * database. It is never ahead of the database clock, because each time in an answer was already past
 * when the answer arrived.
 */
export type DatabaseClock = {
  now(): FetchTime
  /** Adjusts the copy to a time that the database returned. */
  follow(databaseTime: FetchTime): void
}

export function trackDatabaseClock(databaseTime: FetchTime): DatabaseClock {
  let anchor = { databaseTime, at: performance.now() }
  const now = () => anchor.databaseTime + Math.floor((performance.now() - anchor.at) * 1000)
  return {
    now,
    follow(time) {
      // Answers can arrive out of order; the clock must not run backwards.
      if (time > now()) anchor = { databaseTime: time, at: performance.now() }
    },
  }
}
