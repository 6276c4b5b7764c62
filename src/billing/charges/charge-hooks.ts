import type { Tx } from '../../db/connect.ts'
import { type OutboundEvent, publishEvent } from '../../notifications/outbound-events.ts'
import type { Charge } from './charge-store.ts'

/** The charge after the change. */
type ChargeChange = { charge: Charge }

/**
 * Custom code that runs when a charge changes. Each hook runs in the transaction that saves the change,
 * once per change. So it may write to our database and add jobs, but it must not make network calls. An
 * error rolls the change back; the charge is reconciled again later.
 */
export type ChargeHooks = {
  chargeSucceeded?(trx: Tx, change: ChargeChange): Promise<void>
  /** One attempt failed; staff may start another one. */
  chargeDeclined?(
    trx: Tx,
    change: ChargeChange & { attempt: number; failure: { code: string; message: string } },
  ): Promise<void>
  /** Stripe confirmed a refund. `amount`: of this change alone, in minor units. */
  chargeRefunded?(trx: Tx, change: ChargeChange & { amount: number }): Promise<void>
}

/** Sends outbound webhooks. */
const outboundWebhooks: ChargeHooks = {
  chargeSucceeded: (trx, { charge }) => publish(trx, 'charge.succeeded', charge),
  chargeDeclined: (trx, { charge, attempt, failure }) =>
    publish(trx, 'charge.declined', charge, { attempt, failure_code: failure.code }),
  chargeRefunded: (trx, { charge, amount }) => publish(trx, 'charge.refunded', charge, { amount }),
}

/**
 * The hooks of this service, used by every process that reconciles charges: server, workers and command
 * line. Add your own here (docs/billing.md).
 */
export const CHARGE_HOOKS: readonly ChargeHooks[] = [outboundWebhooks]

function publish(
  trx: Tx,
  type: OutboundEvent['type'],
  charge: Charge,
  more: OutboundEvent['data'] = {},
): Promise<void> {
  return publishEvent(trx, {
    conferenceId: charge.conferenceId,
    type,
    data: {
      charge: charge.id,
      status: charge.status,
      sponsor: charge.sponsorId,
      source_reference: charge.sourceReference,
      amount: charge.amount,
      amount_refunded: charge.amountRefunded,
      currency: charge.currency,
      ...more,
    },
  })
}
