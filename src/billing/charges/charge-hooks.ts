import type { Tx } from '../../db/connect.ts'
import { type OutboundEvent, publishEvent } from '../../notifications/outbound-events.ts'
import type { Charge } from './charge-store.ts'

/** A charge as it is after what happened. */
export type ChargeChange = { charge: Charge }

/**
 * Code of one's own for what happens to a charge. Each hook runs in the transaction that makes it
 * true, once for each time it becomes true, however often and through whom it was heard of. So it
 * may write to our database and add jobs; it must not ask anybody else, and what it throws undoes
 * the reading, which is then tried again.
 */
export type ChargeHooks = {
  chargeSucceeded?(trx: Tx, news: ChargeChange): Promise<void>
  /** One try is over; the charge may be tried again by staff. */
  chargeDeclined?(
    trx: Tx,
    news: ChargeChange & { attempt: number; failure: { code: string; message: string } },
  ): Promise<void>
  /** Stripe confirmed that money went back. `amount`: this time, in minor units. */
  chargeRefunded?(trx: Tx, news: ChargeChange & { amount: number }): Promise<void>
}

function publishChargeEvent(
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

/** Tells the conference's receivers. */
const outboundWebhooks: ChargeHooks = {
  chargeSucceeded: (trx, { charge }) => publishChargeEvent(trx, 'charge.succeeded', charge),
  chargeDeclined: (trx, { charge, attempt, failure }) =>
    publishChargeEvent(trx, 'charge.declined', charge, { attempt, failure_code: failure.code }),
  chargeRefunded: (trx, { charge, amount }) =>
    publishChargeEvent(trx, 'charge.refunded', charge, { amount }),
}

/**
 * The hooks of this service, in every process that reads charges: requests, workers, the command
 * line. One's own are added here (docs/billing.md).
 */
export const CHARGE_HOOKS: readonly ChargeHooks[] = [outboundWebhooks]
