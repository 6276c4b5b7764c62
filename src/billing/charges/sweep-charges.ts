import type { Knex } from 'knex'
import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/job-queue.ts'

const MAX_JOBS = 500

/** Webhooks report changes of an open Checkout session, so it is fetched only once per interval. */
const OPEN_CHECKOUT_SECONDS = 3_600

type ChargeKey = { conference_id: string; charge_id: string }

/**
 * Adds a job for each charge and each charge refund whose outcome has been unknown for longer than
 * `afterSeconds`. The jobs reconcile charges and finish requested refunds; they never charge a card.
 *
 * @param trx - of a system task: it searches all conferences.
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
  const lastChange = 'greatest(a.updated_at, c.reconciled_at)'
  return trx('charge_attempts as a')
    .join('charges as c', (on) => {
      on.on('c.conference_id', 'a.conference_id').andOn('c.id', 'a.charge_id')
    })
    .whereRaw(`a.state in ('confirming', 'processing', 'open')`)
    .whereRaw(
      `${lastChange} < now() - make_interval(secs =>
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

/** A job with this key (see job-catalogue.ts) that is running or will run. */
function pendingJob(trx: Tx, key: string): Knex.QueryBuilder {
  return trx('graphile_worker.jobs as j')
    .whereRaw(`j.key = ${key}`)
    .whereRaw('(j.attempts < j.max_attempts or j.locked_at is not null)')
}
