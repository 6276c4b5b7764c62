import { deleteOldSignIns } from './access/sign-in.ts'
import { deleteOldDiscountChanges } from './billing/discounts/discount-change.ts'
import type { Config } from './config.ts'
import type { Db } from './db/connect.ts'
import { deleteOldPositions } from './db/write-positions.ts'
import { deleteExpiredLimits } from './http/failed-lookups.ts'
import { deleteExpiredKeys } from './http/idempotency.ts'
import { deleteFailedJobs } from './jobs/job-queue.ts'
import { deleteOldSyncRuns } from './mirror/runs/sync-run-store.ts'
import { dropOldDeliveries } from './notifications/webhook-deliveries.ts'
import { deleteOldBodies, dropOldEvents } from './stripe-events/event-inbox.ts'
import { deleteOldHolds } from './vouchers/redemption-holds.ts'

/** Number of deleted rows, by kind. `bodies`: of events, which stay. `partitions`: the names of dropped ones. */
export type Pruned = {
  keys: number
  limits: number
  jobs: number
  partitions: string[]
  bodies: number
  runs: number
  changes: number
  signIns: number
  holds: number
  positions: number
}

/**
 * Creates the next partitions and deletes what need not be kept longer. Safe to run twice, also at the same time.
 *
 * @param retention null keeps rows for ever.
 */
export async function prune(db: Db, retention: Config['retention']): Promise<Pruned> {
  const { eventDays, eventBodyDays, syncRunDays, discountChangeDays } = retention
  return {
    keys: await deleteExpiredKeys(db),
    limits: await deleteExpiredLimits(db),
    jobs: await deleteFailedJobs(db),
    // Before the bodies, which go with their events. An event is kept at least as long as its body.
    partitions: [
      ...(await dropOldEvents(
        db,
        eventDays && eventBodyDays && Math.max(eventDays, eventBodyDays),
      )),
      ...(await dropOldDeliveries(db)),
    ],
    signIns: await deleteOldSignIns(db),
    bodies: eventBodyDays === null ? 0 : await deleteOldBodies(db, eventBodyDays),
    runs: syncRunDays === null ? 0 : await deleteOldSyncRuns(db, syncRunDays),
    changes:
      discountChangeDays === null ? 0 : await deleteOldDiscountChanges(db, discountChangeDays),
    holds: await deleteOldHolds(db),
    positions: await deleteOldPositions(db),
  }
}
