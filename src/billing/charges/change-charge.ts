import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { isPayable } from '../../payments/attempt-machine.ts'
import { recordChanges } from '../../payments/plan-records.ts'
import { expectedRows, saveRecordsParts, writtenRows } from '../../payments/save-records.ts'
import { CHARGE_HOOKS, type ChargeHooks } from './charge-hooks.ts'
import { type Charge, type ChargeRef, isPaid, lockCharge, ownerOf } from './charge-store.ts'
import { type ChargeInput, type ChargePlan, planCharge } from './plan-charge.ts'

/**
 * Changes a charge: loads it under its lock, plans without I/O, and saves the plan in the caller's
 * transaction. Every change of a charge's status runs through here.
 *
 * @param more hooks besides those of the service.
 */
export async function changeCharge(
  trx: Tx,
  ref: ChargeRef,
  input: ChargeInput,
  more: readonly ChargeHooks[] = [],
): Promise<ChargePlan> {
  const plan = planCharge(await lockCharge(trx, ref), input)
  await saveChargePlan(trx, plan, more)
  return plan
}

/**
 * Writes a plan in one statement and runs the hooks for what changed. The charge is locked.
 *
 * @param ticket of the snapshot that was applied.
 */
export async function saveChargePlan(
  trx: Tx,
  plan: ChargePlan,
  more: readonly ChargeHooks[] = [],
  ticket: number | null = null,
): Promise<void> {
  const charge = await saveRows(trx, plan, ticket)
  await closeOpenAttempts(trx, plan)
  await runHooks(trx, plan, charge, [...CHARGE_HOOKS, ...more])
}

/** Adds a job for each attempt that can still be paid although the charge is paid, as for a purchase. */
async function closeOpenAttempts(trx: Tx, { before, after }: ChargePlan): Promise<void> {
  const { charge, records } = after
  if (!isPaid(charge) || isPaid(before.charge)) return
  for (const { attempt } of records.attempts.filter(isPayable)) {
    const ref = { conference_id: charge.conferenceId, charge_id: charge.id }
    await addJob(trx, 'finish_charge_attempt', { ...ref, attempt })
  }
}

/** @returns the charge as it was saved. */
async function saveRows(
  trx: Tx,
  { before, after }: ChargePlan,
  ticket: number | null,
): Promise<Charge> {
  const { charge } = after
  const { conferenceId, id, status } = before.charge
  const changes = recordChanges(before.records, after.records)
  const parts = saveRecordsParts(ownerOf({ conferenceId, chargeId: id }), changes)
  const isChange = parts.length > 0 || JSON.stringify(before.charge) !== JSON.stringify(charge)
  if (!isChange && ticket === null) return charge
  type Saved = { saved_at: Date; succeeded_at: Date | null; written: number }
  const { rows } = await trx.raw<{ rows: Saved[] }>(
    `with ${parts.map(({ sql }) => `${sql}, `).join('')} saved_charge as (
       update charges c
       set status = :status, failure_code = :failureCode, failure_message = :failureMessage,
         payment_intent_id = :paymentIntent, amount_received = :received,
         amount_refunded = :refunded, amount_refunding = :refunding,
         succeeded_at = case when :isPaid then coalesce(c.succeeded_at, now()) else c.succeeded_at end,
         updated_at = case when :isChange then now() else c.updated_at end
         ${ticket === null ? '' : ', applied_ticket = :ticket, reconciled_at = now()'}
       where c.conference_id = :conference and c.id = :owner and c.status = :from
       returning c.updated_at as saved_at, c.succeeded_at)
     select saved_at, succeeded_at,
       ${writtenRows(parts)} as written
     from saved_charge`,
    {
      ...Object.assign({}, ...parts.map(({ bindings }) => bindings)),
      conference: conferenceId,
      owner: id,
      from: status,
      status: charge.status,
      failureCode: charge.failure?.code ?? null,
      failureMessage: charge.failure?.message ?? null,
      paymentIntent: charge.paymentIntentId,
      received: charge.amountReceived,
      refunded: charge.amountRefunded,
      refunding: charge.amountRefunding,
      isPaid: isPaid(charge),
      isChange,
      ...(ticket === null ? {} : { ticket }),
    },
  )
  const [saved] = rows
  if (saved === undefined || saved.written !== expectedRows(parts)) {
    throw new Error(
      `Charge ${id} was not saved: a row of it changed although it is locked, or a payment of it belongs to another charge or purchase.`,
    )
  }
  return { ...charge, updatedAt: saved.saved_at, succeededAt: saved.succeeded_at }
}

async function runHooks(
  trx: Tx,
  { before, declines }: ChargePlan,
  charge: Charge,
  hooks: readonly ChargeHooks[],
): Promise<void> {
  const becamePaid = before.charge.succeededAt === null && charge.succeededAt !== null
  const refunded = charge.amountRefunded - before.charge.amountRefunded
  for (const hook of hooks) {
    for (const decline of declines) await hook.chargeDeclined?.(trx, { charge, ...decline })
    if (becamePaid) await hook.chargeSucceeded?.(trx, { charge })
    if (refunded > 0) await hook.chargeRefunded?.(trx, { charge, amount: refunded })
  }
}
