import type { Knex } from 'knex'
import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/job-queue.ts'

const MAX_JOBS = 500

/** An open Checkout link is told of by webhook; it is looked at by itself once in so many seconds. */
const OPEN_CHECKOUT_SECONDS = 3_600

type ChargeKey = { conference_id: string; charge_id: string }

/**
 * Finds charges whose outcome is not known, and refunds of charges without a known answer, that have
 * waited longer than `afterSeconds`, and adds a job for each. The jobs read, and finish refunds that
 * somebody asked for; they never charge a card.
 *
 * @param trx of a system task: it looks across all conferences.
 */
export async function sweepCharges(
  trx: Tx,
  afterSeconds: number,
): Promise<{ charges: number; chargeRefunds: number }> {
  const charges = await findStaleCharges(trx, afterSeconds)
  for (const charge of charges) await addJob(trx, 'reconcile_charge', charge)
  const refunds = await findUnansweredRefunds(trx, afterSeconds)
  for (const refund of refunds) await addJob(trx, 'finish_charge_refund', refund)
  return { charges: charges.length, chargeRefunds: refunds.length }
}

function findStaleCharges(trx: Tx, afterSeconds: number): Promise<ChargeKey[]> {
  const lastNews = 'greatest(a.updated_at, c.reconciled_at)'
  return trx('charge_attempts as a')
    .join('charges as c', (on) => {
      on.on('c.conference_id', 'a.conference_id').andOn('c.id', 'a.charge_id')
    })
    .whereRaw(`a.state in ('confirming', 'processing', 'open')`)
    .whereRaw(
      `${lastNews} < now() - make_interval(secs =>
        case when a.state = 'open' and a.expires_at > now() then ?::int else ?::int end)`,
      [OPEN_CHECKOUT_SECONDS, afterSeconds],
    )
    .whereNotExists(pendingJob(trx, `'reconcile_charge:' || a.charge_id`))
    .orderBy('a.updated_at')
    .limit(MAX_JOBS)
    .select<ChargeKey[]>('a.conference_id', 'a.charge_id')
}

function findUnansweredRefunds(
  trx: Tx,
  afterSeconds: number,
): Promise<(ChargeKey & { id: string })[]> {
  return trx('charge_refund_requests as r')
    .where('r.state', 'requested')
    .whereRaw(`r.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
    .whereNotExists(pendingJob(trx, `'finish_charge_refund:' || r.id`))
    .orderBy('r.created_at')
    .limit(MAX_JOBS)
    .select<(ChargeKey & { id: string })[]>('r.conference_id', 'r.charge_id', 'r.id')
}

/** A job of this key (see job-catalogue.ts) that waits for a try or runs. */
function pendingJob(trx: Tx, key: string): Knex.QueryBuilder {
  return trx('graphile_worker.jobs as j')
    .whereRaw(`j.key = ${key}`)
    .whereRaw('(j.attempts < j.max_attempts or j.locked_at is not null)')
}
