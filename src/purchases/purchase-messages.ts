import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import {
  type OutboundEvent,
  type OutboundEventType,
  publishEvent,
} from '../notifications/outbound-events.ts'
import { newId } from '../shared/ids.ts'
import type { Transition } from './plan-purchase.ts'
import type { BulkPurchase } from './purchase-aggregate.ts'
import type { PurchaseEmailKind } from './purchase-email.ts'

type OutgoingPurchaseEvent = { type: OutboundEventType; more?: OutboundEvent['data'] }

/** The outbound webhook events of a transition. vouchers/ publishes those about vouchers. */
function outgoingEventsOf({ from, to, event }: Transition): OutgoingPurchaseEvent[] {
  const events: OutgoingPurchaseEvent[] = []
  if (event.type === 'DISPUTE_OPENED') {
    events.push({ type: 'purchase.disputed', more: { dispute: event.flag.fact } })
  }
  if (event.type === 'DISPUTE_WON' || event.type === 'DISPUTE_LOST') {
    const outcome = event.type === 'DISPUTE_WON' ? 'won' : 'lost'
    events.push({ type: 'purchase.dispute_closed', more: { outcome } })
  }
  if (event.type === 'PARTIALLY_REFUNDED') events.push({ type: 'purchase.partially_refunded' })
  if (event.type === 'REFUND_FAILED') {
    events.push({ type: 'purchase.refund_failed', more: { refund: event.flag.fact } })
  }
  if (event.type === 'REINSTATED') events.push({ type: 'purchase.reinstated' })
  else if (to === 'PAID' && from !== 'PAID') events.push({ type: 'purchase.paid' })
  if (to === 'FAILED' && from !== 'FAILED') events.push({ type: 'purchase.failed' })
  if (to === 'REFUNDED' && from !== 'REFUNDED') events.push({ type: 'purchase.refunded' })
  return events
}

/** The events that the sponsor's contact also gets an e-mail about. */
const EMAIL_OF_EVENT: Partial<Record<OutboundEventType, PurchaseEmailKind>> = {
  'purchase.paid': 'codes_ready',
  'purchase.reinstated': 'codes_ready',
  'purchase.failed': 'failed',
  'purchase.partially_refunded': 'partially_refunded',
  'purchase.refunded': 'refunded',
  'purchase.disputed': 'disputed',
}

/** Publishes a transition in its own transaction: outbound webhooks, and an e-mail to the sponsor. */
export async function publishTransition(trx: Tx, transition: Transition): Promise<void> {
  const { purchase } = transition
  for (const { type, more } of outgoingEventsOf(transition)) {
    await publishEvent(trx, {
      conferenceId: purchase.conferenceId,
      type,
      data: { ...eventData(purchase), ...more },
    })
    const kind = EMAIL_OF_EVENT[type]
    if (kind !== undefined && purchase.sponsorId !== null) {
      await addJob(trx, 'mail_purchase', {
        conference_id: purchase.conferenceId,
        purchase_id: purchase.id,
        kind,
        // Set here, once: every retry sends the e-mail under the same id.
        message: newId('mail'),
      })
    }
  }
}

function eventData(purchase: BulkPurchase): OutboundEvent['data'] {
  return {
    purchase: purchase.id,
    status: purchase.status,
    sponsor: purchase.sponsorId,
    reference: purchase.reference,
    quantity: purchase.quantity,
    total_amount: purchase.totalAmount,
    amount_received: purchase.amountReceived,
    amount_refunded: purchase.amountRefunded,
    currency: purchase.currency,
    failure_code: purchase.failure?.code ?? null,
  }
}
