import type { Db, Tx } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { Logger } from '../shared/logger.ts'
import { type Repeated, repeat } from './repeat.ts'

/** Something that is due once in every interval, for all processes together. */
export type Timer = {
  name: string
  everySeconds: number
  /** Runs in the transaction that claims the interval, so it happens once or the claim is undone. */
  fire: (trx: Tx) => Promise<void>
}

const MAX_TICK_MS = 500
const MIN_TICK_MS = 50

/**
 * Fires timers whose intervals may be shorter than a minute, which is as fine as cron items go. The
 * table decides, by the database's clock: with any number of processes ticking, one of them wins the
 * row of a due timer. An interval that everybody missed is not made up for.
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
      // Not before: the process may have been started ahead of its database.
      if (!registered) await register(db, timers)
      registered = true
      const due = await dueTimers(db)
      const mine = timers.filter(({ name }) => due.has(name))
      // One that fails must not keep the others from firing.
      const results = await Promise.allSettled(mine.map((timer) => fireOnce(db, timer)))
      const failure = results.find((result) => result.status === 'rejected')
      if (failure !== undefined) throw failure.reason
    },
  })
}

/** A new timer is due at once; a shortened interval holds from now on and not from its next firing. */
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
    // Skipped when another process holds the row: it is firing this very interval.
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
