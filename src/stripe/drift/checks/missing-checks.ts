import { columns, type DriftCheck, type Only } from '../drift-check.ts'
import type { DriftResource } from '../drift-line.ts'

type Ours = { table: string; id: string; status: string }

/** What the purchases' rows know and Stripe's side does not: one check for each of their tables. */
function missing(
  what: 'payment' | 'refund' | 'dispute' | 'checkout_session',
  resource: DriftResource,
  ours: Ours,
  theirs: string,
  more: { name?: string; where?: string } = {},
): DriftCheck {
  return {
    name: more.name ?? `missing_${what}`,
    kind: 'missing',
    what,
    resource,
    source: 'purchases',
    sql: (only: Only) => `
      select ${columns({
        key1: `o.${ours.id}`,
        purchase: 'o.purchase_id',
        stripeId: `o.${ours.id}`,
        here: `o.${ours.status}`,
        repair: `'sync'`,
      })}
      from ${ours.table} o
      where o.conference_id = :conference and o.${ours.id} is not null ${more.where ?? ''}
        ${only('o.purchase_id')}
        and not exists (select 1 from ${theirs} t where t.id = o.${ours.id})`,
  }
}

const ATTEMPTS: Ours = { table: 'checkout_attempts', id: 'session_id', status: 'state' }

/** Stripe sends no event for a session that is opened, so the mirror need not know an open one. */
export const MISSING_CHECKS: readonly DriftCheck[] = [
  missing(
    'payment',
    'payment-intents',
    { table: 'purchase_payments', id: 'payment_intent_id', status: 'status' },
    'there_payments',
  ),
  missing(
    'refund',
    'refunds',
    { table: 'purchase_refunds', id: 'id', status: 'status' },
    'there_refunds',
  ),
  missing(
    'dispute',
    'disputes',
    { table: 'purchase_disputes', id: 'id', status: 'status' },
    'there_disputes',
  ),
  missing('checkout_session', 'checkout-sessions', ATTEMPTS, 'there_sessions', {
    where: `and o.state <> 'open'`,
  }),
]

/** Of Stripe itself, which must know it. */
export const MISSING_OPEN_SESSION = missing(
  'checkout_session',
  'checkout-sessions',
  ATTEMPTS,
  'there_sessions',
  { name: 'missing_open_checkout_session', where: `and o.state = 'open'` },
)
