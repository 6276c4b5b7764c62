import { describe, expect, it } from 'vitest'
import { newAccount, type ProcessBudget, useBudgets } from './use-rate-limiters.ts'

const budgets = useBudgets()

/** Takes so many at once and notes when each was let through, in that order. */
function takeMany(budget: ProcessBudget, account: string, count: number) {
  const turns: { index: number; at: number }[] = []
  const takes = Array.from({ length: count }, async (_, index) => {
    await budget.take(account)
    turns.push({ index, at: performance.now() })
  })
  return { turns, all: Promise.all(takes) }
}

const TIMED_OUT = { name: 'TimeoutError' }

const indexes = (turns: { index: number }[]) => turns.map(({ index }) => index)
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)
const reservations = (budget: ProcessBudget) =>
  budget.statements.filter((sql) => sql.includes('as first'))

describe('the request budget of an account', () => {
  it('lets what follows a burst through at the limit', async () => {
    const budget = budgets.process({ requestsPerSecond: 20, burst: 5 })
    const begun = performance.now()
    const { turns, all } = takeMany(budget, newAccount(), 15)
    await all
    expect(indexes(turns)).toEqual(upTo(15))
    expect(performance.now() - begun).toBeGreaterThanOrEqual(495) // 10 intervals of 50 ms
  })

  it('lets a whole burst through before the request after another account’s burst', async () => {
    const budget = budgets.process({ requestsPerSecond: 1, burst: 5 })
    const busy = takeMany(budget, newAccount(), 6)
    const rested = takeMany(budget, newAccount(), 5)
    await rested.all
    expect(busy.turns.length).toBeLessThan(6)
    await busy.all
  })

  it('is one for all processes', async () => {
    const account = newAccount()
    const begun = performance.now()
    const both = [budgets.process(), budgets.process()].map((one) => takeMany(one, account, 8))
    await Promise.all(both.map(({ all }) => all))
    // The first of the sixteen was free.
    expect(performance.now() - begun).toBeGreaterThanOrEqual(15 * 50 - 5)
    for (const { turns } of both) expect(indexes(turns)).toEqual(upTo(8))
  })

  it('is each account’s own', async () => {
    const budget = budgets.process({ requestsPerSecond: 1 })
    const busy = newAccount()
    await budget.take(busy)
    const queue = takeMany(budget, busy, 1)
    await Promise.all([budget.take(newAccount()), budget.take(newAccount())])
    expect(queue.turns).toEqual([])
    await queue.all
  })

  it('does not make one process wait for the whole queue of another', async () => {
    const account = newAccount()
    const long = takeMany(budgets.process({ requestsPerSecond: 100 }), account, 150)
    await expect.poll(() => long.turns.length).toBeGreaterThan(0)
    await budgets.process({ requestsPerSecond: 100 }).take(account)
    expect(long.turns.length).toBeLessThan(100)
    await long.all
    expect(indexes(long.turns)).toEqual(upTo(150))
  })

  it('reserves for everybody who waits in one statement', async () => {
    const budget = budgets.process({ requestsPerSecond: 1000, burst: 100 })
    await takeMany(budget, newAccount(), 100).all
    expect(reservations(budget)).toHaveLength(1)
  })

  it('works on a database whose answers take longer than an interval', async () => {
    const budget = budgets.process({ requestsPerSecond: 40, burst: 10, latencyMs: 60 })
    const { turns, all } = takeMany(budget, newAccount(), 30)
    await all
    expect(indexes(turns)).toEqual(upTo(30))
    expect(budget.statements.length).toBeLessThan(60)
  })

  it('sends everybody away while the database fails, and recovers', async () => {
    const budget = budgets.process()
    const account = newAccount()
    await budget.take(account)
    await budget.db.raw('alter table stripe_request_budgets rename to gone')
    const results = await Promise.allSettled([budget.take(account), budget.take(account)])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await budget.db.raw('alter table gone rename to stripe_request_budgets')
    await budget.take(account)
    await expect(budgets.cutOff().take(account)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('a caller that gives up', () => {
  it('leaves its turn to the next one', async () => {
    const budget = budgets.process({ requestsPerSecond: 2 })
    const account = newAccount()
    await budget.take(account)
    const gone = new AbortController()
    const begun = performance.now()
    const second = budget.take(account, gone.signal)
    const third = budget.take(account)
    await expect.poll(() => reservations(budget).length).toBe(2)
    gone.abort(new Error('stopped'))
    await expect(second).rejects.toThrow('stopped')
    await third
    expect(performance.now() - begun).toBeLessThan(15_000)
    // Had its turn been lost, the third would have needed a reservation of its own.
    expect(reservations(budget).length).toBeLessThanOrEqual(3)
  })

  it('ends at once, however long the pause, and holds up nobody after it', async () => {
    const budget = budgets.process()
    const [paused, other] = [newAccount(), newAccount()]
    await budget.pause(paused, 3600)
    const signal = AbortSignal.timeout(200)
    await expect(budget.take(paused, signal)).rejects.toMatchObject(TIMED_OUT)
    await expect(budget.take(paused, signal)).rejects.toMatchObject(TIMED_OUT)
    await budget.take(other)
    // A database that crashed has forgotten the pause, and decides.
    await budgets.rows('delete from stripe_request_budgets where account_key = ?', [paused])
    await budget.take(paused)
  })
})

describe('a pause', () => {
  it('stops every process, also those that had their turns reserved', async () => {
    const account = newAccount()
    const waiting = [budgets.process(), budgets.process()].map((one) => takeMany(one, account, 8))
    const turns = () => waiting.flatMap((one) => one.turns.map(({ at }) => at))
    await expect.poll(() => turns().length, { interval: 5 }).toBeGreaterThan(2)
    const asked = performance.now()
    await budgets.process().pause(account, 1)
    const known = performance.now()
    await Promise.all(waiting.map(({ all }) => all))
    // A turn is used on what was known of the pause 25 ms ago at most.
    const during = turns().filter((at) => at > known + 25 && at < asked + 1000)
    expect(during).toEqual([])
    const after = turns().filter((at) => at >= asked + 1000)
    expect(after.length).toBeGreaterThan(4)
    // What was missed is not made up for in one go.
    const spread = Math.max(...after) - (asked + 1000)
    expect(spread).toBeGreaterThanOrEqual((after.length - 1) * 50 - 5)
    for (const one of waiting) expect(indexes(one.turns)).toEqual(upTo(8))
  })

  it('is never shortened by a later one', async () => {
    const budget = budgets.process()
    const account = newAccount()
    await budget.pause(account, 1000)
    await budget.pause(account, 1)
    const [row] = await budgets.rows<{ longer: boolean }>(
      `select paused_until > now() + interval '900 seconds' as longer
       from stripe_request_budgets where account_key = ?`,
      [account],
    )
    expect(row?.longer).toBe(true)
  })
})

describe('an interactive request', () => {
  const nextAt = (account: string) =>
    budgets.rows<{ next_at: Date; debt: boolean }>(
      `select next_at, next_at > clock_timestamp() + interval '1 second' as debt
       from stripe_request_budgets where account_key = ?`,
      [account],
    )

  it('is debited afterwards, so that the background gives way', async () => {
    const budget = budgets.process({ requestsPerSecond: 1 })
    const account = newAccount()
    budget.note(account)
    await expect.poll(() => nextAt(account)).toHaveLength(1)
    const [before] = await nextAt(account)
    await budget.take(account)
    const [row] = await budgets.rows<{ later: boolean }>('select clock_timestamp() >= ? as later', [
      before?.next_at.toISOString() ?? '',
    ])
    expect(row?.later).toBe(true)
  })

  it('shares a statement with the others of the moment, and leaves no long debt', async () => {
    const budget = budgets.process({ requestsPerSecond: 1 })
    const account = newAccount()
    for (let i = 0; i < 1000; i += 1) budget.note(account)
    await expect.poll(() => nextAt(account)).toMatchObject([{ debt: false }])
    const [first] = await nextAt(account)
    for (let i = 0; i < 1000; i += 1) budget.note(account)
    const isLater = async () =>
      (await nextAt(account))[0]?.next_at.getTime() !== first?.next_at.getTime()
    await expect.poll(isLater).toBe(true)
    expect(await nextAt(account)).toMatchObject([{ debt: false }])
    expect(budget.statements.filter((sql) => sql.includes('least('))).toHaveLength(2)
  })

  it('does not notice that it could not be debited', async () => {
    const budget = budgets.cutOff()
    budget.note(newAccount())
    await expect.poll(() => budget.log.join()).toContain('were not debited')
  })
})

describe('no limit', () => {
  it('lets everybody through without a statement', async () => {
    const budget = budgets.process({ requestsPerSecond: null })
    const account = newAccount()
    await takeMany(budget, account, 500).all
    budget.note(account)
    await budget.pause(account, 0.2)
    const paused = performance.now()
    await budget.take(account)
    expect(performance.now() - paused).toBeGreaterThanOrEqual(195)
    expect(budget.statements).toEqual([])
  })

  it('still ends the waiting for a caller that gives up', async () => {
    const budget = budgets.process({ requestsPerSecond: null })
    const account = newAccount()
    await budget.pause(account, 3600)
    const signal = AbortSignal.timeout(50)
    await expect(budget.take(account, signal)).rejects.toMatchObject(TIMED_OUT)
    await expect(budget.take(account, signal)).rejects.toMatchObject(TIMED_OUT)
  })
})
