import type { Tx } from '../../../db/connect.ts'
import { announceEvent } from '../../../notifications/outgoing/announce-event.ts'
import type { OutgoingEvent } from '../../../notifications/outgoing/event-types.ts'
import type { Charge } from './charge.ts'
import type { ChargeHooks } from './charge-hooks.ts'

function announce(
  trx: Tx,
  type: OutgoingEvent['type'],
  charge: Charge,
  more: OutgoingEvent['data'] = {},
): Promise<void> {
  return announceEvent(trx, {
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
const outgoing: ChargeHooks = {
  chargeSucceeded: (trx, { charge }) => announce(trx, 'charge.succeeded', charge),
  chargeDeclined: (trx, { charge, attempt, failure }) =>
    announce(trx, 'charge.declined', charge, { attempt, failure_code: failure.code }),
  chargeRefunded: (trx, { charge, amount }) => announce(trx, 'charge.refunded', charge, { amount }),
}

/**
 * The hooks of this service, in every process that reads charges: requests, workers, the command
 * line. One's own are added here (docs/billing.md).
 */
export const OWN_HOOKS: readonly ChargeHooks[] = [outgoing]
