import type Stripe from 'stripe'
import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { findPurchaseIdByPaymentIntent } from '../../purchases/payment-store.ts'
import { findPurchase } from '../../purchases/purchase-store.ts'
import type { StripeClients } from '../client.ts'
import { orNull } from '../stripe-errors.ts'
import { chargeObject, parseAnswer, paymentIntentObject } from '../stripe-objects.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { isSessionType } from './handled-types.ts'
import { type EventHints, parseEvent } from './parse-event.ts'

async function intentOfCharge(stripe: Stripe, charge: string): Promise<string | null> {
  const answer = await orNull(() => stripe.charges.retrieve(charge))
  return answer === null ? null : parseAnswer(chargeObject, answer, 'charge').payment_intent
}

async function ownPurchase(trx: Tx, conferenceId: string, id: string): Promise<string | null> {
  const purchase = await findPurchase(trx, { conferenceId, purchaseId: id })
  return purchase?.id ?? null
}

async function readHints(db: Db, event: ClaimedEvent): Promise<EventHints | null> {
  const row = await withTenant(db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: event.conferenceId, id: event.id })
      .first<{ body: Buffer } | undefined>('body'),
  )
  return row === undefined ? null : parseEvent(row.body)
}

/**
 * The purchase behind an event that our own rows do not lead to, by what Stripe says of its payment:
 * a refund or a dispute names only the charge or the payment intent, and it may be the first that we
 * hear of a payment. Null when it is none of this conference's.
 *
 * @throws AppError `stripe_…`
 */
export async function findEventPurchase(
  deps: { db: Db; clients: StripeClients },
  event: ClaimedEvent,
): Promise<string | null> {
  // Our sessions and intents carry our ids from the first moment on; one without is not ours.
  if (isSessionType(event.type) || event.type.startsWith('payment_intent.')) return null
  const { conferenceId } = event
  const charge = event.paymentIntentId === null ? (await readHints(deps.db, event))?.charge : null
  if (event.paymentIntentId === null && (charge === null || charge === undefined)) return null
  const stripe = await deps.clients.forConference(conferenceId)
  const intent = event.paymentIntentId ?? (charge ? await intentOfCharge(stripe, charge) : null)
  if (intent === null) return null
  const known = await withTenant(deps.db, event, (trx) =>
    findPurchaseIdByPaymentIntent(trx, conferenceId, intent),
  )
  if (known !== null) return known
  const answer = await orNull(() => stripe.paymentIntents.retrieve(intent))
  if (answer === null) return null
  const { metadata } = parseAnswer(paymentIntentObject, answer, 'payment intent')
  const named = metadata['purchase_id']
  if (named === undefined || metadata['conference_id'] !== conferenceId) return null
  return withTenant(deps.db, event, (trx) => ownPurchase(trx, conferenceId, named))
}
