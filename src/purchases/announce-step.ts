import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/add-job.ts'
import { announceEvent } from '../notifications/outgoing/announce-event.ts'
import type { OutgoingEvent, OutgoingEventType } from '../notifications/outgoing/event-types.ts'
import { newId } from '../shared/ids.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import type { LetterKind } from './purchase-letter.ts'
import type { PurchaseEvent, PurchaseStatus } from './purchase-machine.ts'

/** A step that the machine has taken. */
export type Step = { from: PurchaseStatus; to: PurchaseStatus; event: PurchaseEvent }

type News = { type: OutgoingEventType; more?: OutgoingEvent['data'] }

/** What of a step others want to know. Codes are announced by vouchers/, which makes them. */
function newsOf({ from, to, event }: Step): News[] {
  const news: News[] = []
  if (event.type === 'DISPUTE_OPENED') {
    news.push({ type: 'purchase.disputed', more: { dispute: event.flag.fact } })
  }
  if (event.type === 'DISPUTE_WON' || event.type === 'DISPUTE_LOST') {
    const outcome = event.type === 'DISPUTE_WON' ? 'won' : 'lost'
    news.push({ type: 'purchase.dispute_closed', more: { outcome } })
  }
  if (event.type === 'PARTIALLY_REFUNDED') news.push({ type: 'purchase.partially_refunded' })
  if (event.type === 'REFUND_FAILED') {
    news.push({ type: 'purchase.refund_failed', more: { refund: event.flag.fact } })
  }
  if (event.type === 'REINSTATED') news.push({ type: 'purchase.reinstated' })
  else if (to === 'PAID' && from !== 'PAID') news.push({ type: 'purchase.paid' })
  if (to === 'FAILED' && from !== 'FAILED') news.push({ type: 'purchase.failed' })
  if (to === 'REFUNDED' && from !== 'REFUNDED') news.push({ type: 'purchase.refunded' })
  return news
}

/** What the sponsor's contact is written of, too. */
const LETTERS: Partial<Record<OutgoingEventType, LetterKind>> = {
  'purchase.paid': 'codes_ready',
  'purchase.reinstated': 'codes_ready',
  'purchase.failed': 'failed',
  'purchase.partially_refunded': 'partially_refunded',
  'purchase.refunded': 'refunded',
  'purchase.disputed': 'disputed',
}

/** Tells others of a step, in its own transaction. `purchase` is the row after it. */
export async function announceStep(trx: Tx, purchase: BulkPurchase, step: Step): Promise<void> {
  for (const { type, more } of newsOf(step)) {
    await announceEvent(trx, {
      conferenceId: purchase.conferenceId,
      type,
      data: { ...dataOf(purchase), ...more },
    })
    const kind = LETTERS[type]
    if (kind !== undefined && purchase.sponsorId !== null) {
      await addJob(trx, 'mail_purchase', {
        conference_id: purchase.conferenceId,
        purchase_id: purchase.id,
        kind,
        // Named here, once: every try sends the same mail.
        message: newId('mail'),
      })
    }
  }
}

function dataOf(purchase: BulkPurchase): OutgoingEvent['data'] {
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
