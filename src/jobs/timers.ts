import type { Db, Tx } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { Logger } from '../shared/logger.ts'
import { type Repeated, repeat } from './repeat.ts'

/** Work that is due once per interval, for all processes together. */
export type Timer = {
  name: string
  everySeconds: number
  /** Runs in the transaction that claims the interval. If it fails, the claim is rolled back. */
  fire: (trx: Tx) => Promise<void>
}

const MAX_TICK_MS = 500
const MIN_TICK_MS = 50

/**
 * Fires timers. Their intervals may be shorter than a minute, which cron items do not support. The
 * table `timers` decides by the database's clock: of all processes, one claims the row of a due timer.
 * Missed intervals are not repeated.
 */
export function startTimers(deps: { db: Db; logger: Logger; timers: readonly Timer[] }): Repeated {
  const { db, logger, timers } = deps
  const shortest = Math.min(...timers.map(({ everySeconds }) => everySeconds))
  let registered = false
  return repeat({
    what: 'timers',
    everyMs: Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, shortest * 250)),
    logger,
    async work() {
      // Here and not earlier, because the process may start before its database.
      if (!registered) await register(db, timers)
      registered = true
      const due = await dueTimers(db)
      const mine = timers.filter(({ name }) => due.has(name))
      // A timer that fails must not stop the others.
      const results = await Promise.allSettled(mine.map((timer) => fireOnce(db, timer)))
      const failure = results.find((result) => result.status === 'rejected')
      if (failure !== undefined) throw failure.reason
    },
  })
}

/** A new timer is due immediately. A shorter interval takes effect now, not after the next firing. */
async function register(db: Db, timers: readonly Timer[]): Promise<void> {
  for (const { name, everySeconds } of timers) {
    await db.raw(
      `insert into timers (name) values (?)
       on conflict (name) do update
       set due_at = least(timers.due_at, now() + make_interval(secs => ?))`,
      [name, everySeconds],
    )
  }
}

async function dueTimers(db: Db): Promise<Set<string>> {
  const rows = await db('timers').whereRaw('due_at <= now()').select<{ name: string }[]>('name')
  return new Set(rows.map(({ name }) => name))
}

function fireOnce(db: Db, timer: Timer): Promise<void> {
  return withSystem(db, 'timers', async (trx) => {
    // Skips a row that another process has locked, because that process fires this interval.
    const claimed = await trx('timers')
      .where(
        'name',
        trx('timers')
          .where({ name: timer.name })
          .whereRaw('due_at <= now()')
          .select('name')
          .forUpdate()
          .skipLocked(),
      )
      .update({ due_at: trx.raw('now() + make_interval(secs => ?)', [timer.everySeconds]) })
    if (claimed === 1) await timer.fire(trx)
  })
}
