import { describe, expect, it } from 'vitest'
import { newAccount, type ProcessRateLimiter, useRateLimiters } from './use-rate-limiters.ts'

const limiters = useRateLimiters()

/** Starts `count` calls and records the order in which they resolve. */
function acquireMany(limiter: ProcessRateLimiter, account: string, count: number) {
  const turns: { index: number }[] = []
  const stop = new AbortController()
  const takes = Array.from({ length: count }, async (_, index) => {
    await limiter.acquire(account, stop.signal)
    turns.push({ index })
  })
  return {
    turns,
    all: Promise.all(takes),
    /** Ends the calls that still wait. */
    async stop() {
      stop.abort()
      await Promise.allSettled(takes)
    },
  }
}

/** So slow that no further turn comes within a test. */
const ONE_AN_HOUR = 1 / 3_600

const TIMED_OUT = { name: 'TimeoutError' }

/** Where the account's slots are, in milliseconds of the database's clock, and what that clock says. */
async function slotsOf(account: string): Promise<{ next: number; now: number }> {
  const [row] = await limiters.rows<{ next: number; now: number }>(
    `select (extract(epoch from next_at) * 1000)::float as next,
       (extract(epoch from clock_timestamp()) * 1000)::float as now
     from stripe_request_budgets where account_key = ?`,
    [account],
  )
  if (row === undefined) throw new Error('The account has no slots')
  return row
}

/** Milliseconds by the database's clock. */
async function databaseNow(): Promise<number> {
  const [row] = await limiters.rows<{ now: number }>(
    'select (extract(epoch from clock_timestamp()) * 1000)::float as now',
  )
  return row?.now ?? Number.NaN
}

// A process estimates the database's clock; its own timers count whole milliseconds.
const CLOCK_MS = 5

const indexes = (turns: { index: number }[]) => turns.map(({ index }) => index)
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const reservations = (limiter: ProcessRateLimiter) =>
  limiter.statements.filter((sql) => sql.includes('as first'))

describe('the rate limiter of an account', () => {
  it('lets requests after a burst through at the limit', async () => {
    const limiter = limiters.process({ requestsPerSecond: 20, burst: 5 })
    const account = newAccount()
    const begun = await databaseNow()
    const { turns, all } = acquireMany(limiter, account, 15)
    await all
    expect(indexes(turns)).toEqual(upTo(15))
    const { next, now } = await slotsOf(account)
    // Five of the fifteen slots of 50 ms are of the time before.
    expect(next - begun).toBeGreaterThanOrEqual(11 * 50)
    // Nobody went before the slot that was used last.
    expect(now).toBeGreaterThanOrEqual(next - 50 - CLOCK_MS)
  })

  it('does not let one account’s burst delay another account’s burst', async () => {
    const limiter = limiters.process({ requestsPerSecond: ONE_AN_HOUR, burst: 5 })
    const busy = acquireMany(limiter, newAccount(), 6)
    const rested = acquireMany(limiter, newAccount(), 5)
    busy.all.catch(() => {})
    await rested.all
    expect(busy.turns.length).toBeLessThan(6)
    await busy.stop()
  })

  it('is shared by all processes', async () => {
    const account = newAccount()
    const first = limiters.process()
    const begun = await databaseNow()
    const both = [first, limiters.process()].map((one) => acquireMany(one, account, 8))
    await Promise.all(both.map(({ all }) => all))
    // Each of the sixteen has a slot of its own, and nobody went before its slot.
    const { next, now } = await slotsOf(account)
    expect(next - begun).toBeGreaterThanOrEqual(16 * 50)
    expect(now).toBeGreaterThanOrEqual(next - 50 - CLOCK_MS)
    for (const { turns } of both) expect(indexes(turns)).toEqual(upTo(8))
  })

  it('is separate for each account', async () => {
    const limiter = limiters.process({ requestsPerSecond: ONE_AN_HOUR })
    const busy = newAccount()
    await limiter.acquire(busy)
    const queue = acquireMany(limiter, busy, 1)
    queue.all.catch(() => {})
    await Promise.all([limiter.acquire(newAccount()), limiter.acquire(newAccount())])
    expect(queue.turns).toEqual([])
    await queue.stop()
  })

  it('does not make one process wait for the whole queue of another', async () => {
    const account = newAccount()
    // A minute's worth, far more than the other process has to wait for.
    const long = acquireMany(limiters.process({ requestsPerSecond: 100 }), account, 6_000)
    long.all.catch(() => {})
    await expect.poll(() => long.turns.length).toBeGreaterThan(0)
    await limiters.process({ requestsPerSecond: 100 }).acquire(account)
    expect(long.turns.length).toBeLessThan(6_000)
    await long.stop()
    expect(indexes(long.turns)).toEqual(upTo(long.turns.length))
  })

  it('reserves slots for all waiting callers in one statement', async () => {
    const limiter = limiters.process({ requestsPerSecond: 1000, burst: 100 })
    await acquireMany(limiter, newAccount(), 100).all
    expect(reservations(limiter)).toHaveLength(1)
  })

  it('works when the database takes longer than an interval to respond', async () => {
    const limiter = limiters.process({ requestsPerSecond: 40, burst: 10, latencyMs: 60 })
    const { turns, all } = acquireMany(limiter, newAccount(), 30)
    await all
    expect(indexes(turns)).toEqual(upTo(30))
    expect(limiter.statements.length).toBeLessThan(60)
  })

  it('rejects all callers while the database fails, and recovers', async () => {
    const limiter = limiters.process()
    const account = newAccount()
    await limiter.acquire(account)
    await limiter.db.raw('alter table stripe_request_budgets rename to gone')
    const results = await Promise.allSettled([limiter.acquire(account), limiter.acquire(account)])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await limiter.db.raw('alter table gone rename to stripe_request_budgets')
    await limiter.acquire(account)
    await expect(limiters.cutOff().acquire(account)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('a caller that aborts', () => {
  it('leaves its turn to the next caller', async () => {
    const limiter = limiters.process({ requestsPerSecond: 2 })
    const account = newAccount()
    await limiter.acquire(account)
    const aborted = new AbortController()
    const second = limiter.acquire(account, aborted.signal)
    const third = limiter.acquire(account)
    await expect.poll(() => reservations(limiter).length).toBe(2)
    aborted.abort(new Error('stopped'))
    await expect(second).rejects.toThrow('stopped')
    await third
    // If the turn were lost, the third caller would need a reservation of its own.
    expect(reservations(limiter).length).toBeLessThanOrEqual(3)
  })

  it('is rejected immediately, even during a long pause, and does not delay others', async () => {
    const limiter = limiters.process()
    const [paused, other] = [newAccount(), newAccount()]
    await limiter.pause(paused, 3600)
    const signal = AbortSignal.timeout(200)
    await expect(limiter.acquire(paused, signal)).rejects.toMatchObject(TIMED_OUT)
    await expect(limiter.acquire(paused, signal)).rejects.toMatchObject(TIMED_OUT)
    await limiter.acquire(other)
    // A database that lost the row in a crash ends the pause.
    await limiters.rows('delete from stripe_request_budgets where account_key = ?', [paused])
    await limiter.acquire(paused)
  })
})

describe('a pause', () => {
  /** Milliseconds after the pause that are reserved. */
  async function usedAfterPause(account: string): Promise<number | undefined> {
    const [row] = await limiters.rows<{ used: number }>(
      `select (extract(epoch from next_at - paused_until) * 1000)::float as used
       from stripe_request_budgets where account_key = ?`,
      [account],
    )
    return row?.used
  }

  /** Two processes with 25 callers each that have begun; `known` resolves once both know a pause. */
  async function begunProcesses(account: string) {
    const processes = [limiters.process(), limiters.process()]
    const waiting = processes.map((one) => acquireMany(one, account, 25))
    for (const { all } of waiting) all.catch(() => {})
    const turns = () => waiting.reduce((sum, one) => sum + one.turns.length, 0)
    await expect.poll(turns, { interval: 5 }).toBeGreaterThan(2)
    return {
      processes,
      waiting,
      turns,
      /** Each process reserves five slots of 50 ms after the pause, then waits for it. */
      known: async () => {
        await expect.poll(() => usedAfterPause(account), { interval: 5 }).toBeGreaterThan(499)
      },
    }
  }

  it('stops every process, including those with reserved slots', async () => {
    const account = newAccount()
    const { processes, waiting, turns, known } = await begunProcesses(account)
    await limiters.process().pause(account, 3600)
    await known()
    const sent = turns()
    // Other accounts of the same processes continue meanwhile.
    await Promise.all(processes.map((one) => acquireMany(one, newAccount(), 10).all))
    expect(turns()).toBe(sent)
    expect(sent).toBeLessThan(50)
    for (const one of waiting) await one.stop()
  })

  it('is followed by requests at the limit: missed slots are not used up in one burst', async () => {
    const account = newAccount()
    const { waiting, turns, known } = await begunProcesses(account)
    await limiters.process().pause(account, 2)
    await known()
    const left = 50 - turns()
    await Promise.all(waiting.map(({ all }) => all))
    expect(await usedAfterPause(account)).toBeGreaterThan(left * 50 - 1)
    const { next, now } = await slotsOf(account)
    expect(now).toBeGreaterThanOrEqual(next - 50 - CLOCK_MS)
    for (const one of waiting) expect(indexes(one.turns)).toEqual(upTo(25))
  })

  it('is never shortened by a later pause', async () => {
    const limiter = limiters.process()
    const account = newAccount()
    await limiter.pause(account, 1000)
    await limiter.pause(account, 1)
    const [row] = await limiters.rows<{ longer: boolean }>(
      `select paused_until > now() + interval '900 seconds' as longer
       from stripe_request_budgets where account_key = ?`,
      [account],
    )
    expect(row?.longer).toBe(true)
  })
})

describe('an interactive request', () => {
  const nextAt = (account: string) =>
    limiters.rows<{ next_at: Date; debt: boolean }>(
      `select next_at, next_at > clock_timestamp() + interval '1 second' as debt
       from stripe_request_budgets where account_key = ?`,
      [account],
    )

  it('is counted afterwards, so that background requests wait longer', async () => {
    const limiter = limiters.process({ requestsPerSecond: 1 })
    const account = newAccount()
    limiter.recordRequest(account)
    await expect.poll(() => nextAt(account)).toHaveLength(1)
    const [before] = await nextAt(account)
    await limiter.acquire(account)
    const [row] = await limiters.rows<{ later: boolean }>(
      'select clock_timestamp() >= ? as later',
      [before?.next_at.toISOString() ?? ''],
    )
    expect(row?.later).toBe(true)
  })

  it('shares a statement with simultaneous ones, and delays others by at most a second', async () => {
    const limiter = limiters.process({ requestsPerSecond: 1 })
    const account = newAccount()
    for (let i = 0; i < 1000; i += 1) limiter.recordRequest(account)
    await expect.poll(() => nextAt(account)).toMatchObject([{ debt: false }])
    const [first] = await nextAt(account)
    for (let i = 0; i < 1000; i += 1) limiter.recordRequest(account)
    const isLater = async () =>
      (await nextAt(account))[0]?.next_at.getTime() !== first?.next_at.getTime()
    await expect.poll(isLater).toBe(true)
    expect(await nextAt(account)).toMatchObject([{ debt: false }])
    expect(limiter.statements.filter((sql) => sql.includes('least('))).toHaveLength(2)
  })

  it('succeeds when it could not be counted', async () => {
    const limiter = limiters.cutOff()
    limiter.recordRequest(newAccount())
    await expect.poll(() => limiter.log.join()).toContain('could not record requests')
  })
})

describe('a longest wait', () => {
  const nextAt = (account: string) =>
    limiters.rows('select next_at from stripe_request_budgets where account_key = ?', [account])

  it('refuses callers during a longer pause with its rest, and reserves no slot for them', async () => {
    const account = newAccount()
    const limiter = limiters.process({ maxWaitSeconds: 10 })
    await limiter.acquire(account)
    await limiter.pause(account, 3_600)
    const before = await nextAt(account)
    const refused = { name: 'RateLimitWait', seconds: expect.closeTo(3_600, -2) }
    const others = [limiter, limiters.process({ maxWaitSeconds: 10 })]
    for (const each of others) await expect(each.acquire(account)).rejects.toMatchObject(refused)
    expect(await nextAt(account)).toEqual(before)
    await limiters.rows(
      'update stripe_request_budgets set paused_until = now() where account_key = ?',
      [account],
    )
    await limiter.acquire(account)
  })

  it('lets callers wait for a shorter pause, also without a rate limit', async () => {
    for (const requestsPerSecond of [20, null]) {
      const account = newAccount()
      const limiter = limiters.process({ maxWaitSeconds: 10, requestsPerSecond })
      await limiter.pause(account, 0.1)
      await limiter.acquire(account)
      await limiter.pause(account, 60)
      await expect(limiter.acquire(account)).rejects.toMatchObject({ name: 'RateLimitWait' })
    }
  })
})

describe('no limit', () => {
  it('lets all requests through without SQL statements', async () => {
    const limiter = limiters.process({ requestsPerSecond: null })
    const account = newAccount()
    await acquireMany(limiter, account, 500).all
    limiter.recordRequest(account)
    expect(limiter.statements).toEqual([])
  })

  it('waits for a pause, and then continues', async () => {
    const limiter = limiters.process({ requestsPerSecond: null })
    const [paused, rested] = [newAccount(), newAccount()]
    await limiter.pause(paused, 3600)
    const waiting = acquireMany(limiter, paused, 1)
    waiting.all.catch(() => {})
    await limiter.acquire(rested)
    expect(waiting.turns).toEqual([])
    await waiting.stop()
    await limiter.pause(rested, 0.2)
    await limiter.acquire(rested)
    expect(limiter.statements).toEqual([])
  })

  it('still rejects a caller that aborts during a pause', async () => {
    const limiter = limiters.process({ requestsPerSecond: null })
    const account = newAccount()
    await limiter.pause(account, 3600)
    const signal = AbortSignal.timeout(50)
    await expect(limiter.acquire(account, signal)).rejects.toMatchObject(TIMED_OUT)
    await expect(limiter.acquire(account, signal)).rejects.toMatchObject(TIMED_OUT)
  })
})
