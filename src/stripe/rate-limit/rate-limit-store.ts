import type { Db } from '../../db/connect.ts'

/** Milliseconds since 1970 by the database's clock, which all processes share. */
type DatabaseMs = number

export type PauseState = { now: DatabaseMs; pausedUntil: DatabaseMs }

/** `first`: when the first of the reserved slots may be used. */
export type Reservation = PauseState & { first: DatabaseMs }

export type RateLimitStore = {
  /**
   * Reserves the account's next `count` free slots, one interval apart. Null when the first of them is
   * further away than the longest wait; then nothing is reserved, because a slot that no
   * caller waits for would delay later requests.
   */
  reserve(accountKey: string, count: number): Promise<Reservation | null>
  /** Seconds until the account's next free slot. */
  readWait(accountKey: string): Promise<number>
  readPause(accountKey: string): Promise<PauseState>
  /** Moves the end of the account's pause forward, never back. */
  pause(accountKey: string, seconds: number): Promise<PauseState>
  /** Moves the account's next free slot back by `count` requests that were sent without a slot. */
  recordRequests(accountKey: string, count: number): Promise<void>
}

// Stripe counts requests per second: how many were sent before that does not matter.
const MAX_DEBT_SECONDS = 1

const toMs = (time: string) => `(extract(epoch from ${time}) * 1000)::float8`
const PAUSE_COLUMNS = `${toMs('clock_timestamp()')} as now,
  coalesce(${toMs('paused_until')}, 0) as "pausedUntil"`

/**
 * clock_timestamp(), not now(): now() is the time at which the transaction began to wait for the row
 * lock, and that may lie before slots that others have reserved since.
 */
const NEXT_FREE_SLOT = `greatest(budget.next_at, budget.paused_until,
  clock_timestamp() - make_interval(secs => :credit::float8))`

const RESERVE = `
  insert into stripe_request_budgets as budget (account_key, next_at)
  values (:accountKey, clock_timestamp() + make_interval(secs => :length::float8 - :credit::float8))
  on conflict (account_key) do update
    set next_at = ${NEXT_FREE_SLOT} + make_interval(secs => :length::float8)
    where ${NEXT_FREE_SLOT} <= clock_timestamp() + make_interval(secs => :maxWait::float8)
  returning ${toMs('next_at - make_interval(secs => :length::float8)')} as first, ${PAUSE_COLUMNS}`

const READ_WAIT = `
  select greatest(0, extract(epoch from ${NEXT_FREE_SLOT} - clock_timestamp()))::float8 as seconds
  from stripe_request_budgets budget where account_key = :accountKey`

const RECORD_USAGE = `
  insert into stripe_request_budgets as budget (account_key, next_at)
  values (:accountKey, clock_timestamp()
    + make_interval(secs => least(:length::float8 - :credit::float8, :debt::float8)))
  on conflict (account_key) do update
    set next_at = greatest(budget.next_at, least(
      ${NEXT_FREE_SLOT} + make_interval(secs => :length::float8),
      clock_timestamp() + make_interval(secs => :debt::float8)))`

const PAUSE = `
  insert into stripe_request_budgets as budget (account_key, next_at, paused_until)
  values (:accountKey, clock_timestamp(), clock_timestamp() + make_interval(secs => :seconds::float8))
  on conflict (account_key) do update
    set paused_until = greatest(budget.paused_until, excluded.paused_until)
  returning ${PAUSE_COLUMNS}`

const READ_PAUSE = `
  select ${toMs('clock_timestamp()')} as now, coalesce((select ${toMs('paused_until')}
    from stripe_request_budgets where account_key = :accountKey), 0) as "pausedUntil"`

/**
 * The generic cell rate algorithm, with one row per account: `next_at` is the theoretical arrival
 * time of the next request. Each method is one statement, and so one short transaction.
 */
export function createRateLimitStore(
  db: Db,
  rate: { requestsPerSecond: number; burst: number; maxWaitSeconds: number },
): RateLimitStore {
  const { requestsPerSecond, burst, maxWaitSeconds: maxWait } = rate
  // An idle account may use the slots of the last `credit` seconds as well as the current one.
  const credit = (burst - 1) / requestsPerSecond

  async function one<Row>(sql: string, bindings: Record<string, string | number>): Promise<Row> {
    const { rows } = await db.raw<{ rows: Row[] }>(sql, bindings)
    const [row] = rows
    if (row === undefined) throw new Error('The rate-limit statement returned no row.')
    return row
  }

  return {
    async reserve(accountKey, count) {
      const length = count / requestsPerSecond
      const { rows } = await db.raw<{ rows: Reservation[] }>(RESERVE, {
        accountKey,
        credit,
        length,
        maxWait,
      })
      return rows[0] ?? null
    },
    readWait: async (accountKey) =>
      (await one<{ seconds: number }>(READ_WAIT, { accountKey, credit })).seconds,
    readPause: (accountKey) => one<PauseState>(READ_PAUSE, { accountKey }),
    pause: (accountKey, seconds) => one<PauseState>(PAUSE, { accountKey, seconds }),
    async recordRequests(accountKey, count) {
      const length = count / requestsPerSecond
      await db.raw(RECORD_USAGE, { accountKey, credit, length, debt: MAX_DEBT_SECONDS })
    },
  }
}
