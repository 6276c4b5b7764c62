import { withSystem } from '../../src/db/tenant-scope.ts'
import { sweepPurchases } from '../../src/purchases/sweep-purchases.ts'
import { AppError } from '../../src/shared/errors.ts'
import { purchaseService } from './purchase-service.ts'
import type { TestApp } from './test-app.ts'

const cause = { actor: { kind: 'system', id: 'test' }, cause: 'test' } as const

type Job = {
  id: string
  task: string
  payload: { conference_id: string; purchase_id: string; attempt?: number; id?: string }
}

const isRefused = (error: unknown) => error instanceof AppError && error.code === 'stripe_refused'

/**
 * Sweeps the purchases as the timer does, then runs the jobs of one conference as a worker does: one that
 * fails stays in the queue for the next run.
 *
 * @returns how many jobs failed.
 */
export async function sweepAndWork(app: TestApp, conference: string): Promise<number> {
  await withSystem(app.db, 'timers', (trx) => sweepPurchases(trx, 0))
  const service = purchaseService(app.db, app.gateway)
  const jobs = await app.rows<Job>(
    `select view.id::text as id, view.task_identifier as task, job.payload
     from graphile_worker.jobs view join graphile_worker._private_jobs job on job.id = view.id
     where job.payload->>'conference_id' = $1
       and view.task_identifier in ('reconcile_purchase', 'finish_attempt', 'finish_refund')
     order by view.id`,
    [conference],
  )
  let failed = 0
  for (const { id, task, payload } of jobs) {
    const ref = { conferenceId: conference, purchaseId: payload.purchase_id }
    try {
      if (task === 'reconcile_purchase') await service.reconcile(ref, cause)
      if (task === 'finish_attempt') await service.finishStaleAttempt(ref, payload.attempt ?? 0)
      if (task === 'finish_refund') await service.finishRefund(ref, payload.id ?? '', cause)
      await app.rows('delete from graphile_worker._private_jobs where id = $1', [id])
    } catch (error) {
      // A refused refund has ended: the worker does not repeat it.
      const isOver = task === 'finish_refund' && isRefused(error)
      if (isOver) await app.rows('delete from graphile_worker._private_jobs where id = $1', [id])
      else failed += 1
    }
  }
  return failed
}
