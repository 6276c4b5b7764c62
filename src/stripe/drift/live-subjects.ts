import type { Tx } from '../../db/connect.ts'
import type { LiveSubject } from './live-objects.ts'

export type LiveFilter = { conferenceId: string; since: Date | null; purchase: string | null }

/**
 * The next purchases, by id, that went to Stripe at all: those made since a time, or the one that is
 * named.
 */
export async function nextSubjects(
  trx: Tx,
  { conferenceId, since, purchase }: LiveFilter,
  after: string,
  limit: number,
): Promise<LiveSubject[]> {
  const query = trx('bulk_purchases as p')
    .where('p.conference_id', conferenceId)
    .where('p.id', '>', after)
    .whereRaw(
      `(exists (select 1 from checkout_attempts o where o.conference_id = p.conference_id
          and o.purchase_id = p.id and o.session_id is not null)
        or exists (select 1 from purchase_payments o where o.conference_id = p.conference_id
          and o.purchase_id = p.id))`,
    )
    .orderBy('p.id')
    .limit(limit)
  if (since !== null) void query.where('p.created_at', '>=', since)
  if (purchase !== null) void query.where('p.id', purchase)
  const ids = (await query.select<{ id: string }[]>('p.id as id')).map(({ id }) => id)
  const sessions = await sessionsOf(trx, conferenceId, ids)
  const payments = await paymentsOf(trx, conferenceId, ids)
  const hints = purchase === null ? [] : await hintsOf(trx, conferenceId, purchase)
  return ids.map((id) => ({
    ref: { conferenceId, purchaseId: id },
    sessions: sessions.filter((row) => row.purchase === id),
    paymentIntents: payments.filter((row) => row.purchase === id).map((row) => row.paymentIntent),
    hints,
  }))
}

/** Expired ones too: a payer may have been faster than what we noted. */
function sessionsOf(trx: Tx, conferenceId: string, ids: readonly string[]) {
  return trx('checkout_attempts')
    .where({ conference_id: conferenceId })
    .whereIn('purchase_id', [...ids])
    .whereNotNull('session_id')
    .whereNot({ state: 'refused' })
    .select<{ purchase: string; attempt: number; sessionId: string }[]>(
      'purchase_id as purchase',
      'attempt',
      'session_id as sessionId',
    )
}

function paymentsOf(trx: Tx, conferenceId: string, ids: readonly string[]) {
  return trx('purchase_payments')
    .where({ conference_id: conferenceId })
    .whereIn('purchase_id', [...ids])
    .select<{ purchase: string; paymentIntent: string }[]>(
      'purchase_id as purchase',
      'payment_intent_id as paymentIntent',
    )
}

async function hintsOf(trx: Tx, conferenceId: string, purchase: string): Promise<string[]> {
  const rows = await trx('stripe.payment_intents')
    .where({ conference_id: conferenceId })
    .whereRaw(`metadata ->> 'purchase_id' = ?`, [purchase])
    .whereNull('deleted_at')
    .select<{ id: string }[]>('id')
  return rows.map(({ id }) => id)
}
