import { comparedFields, type DriftCheck, rowColumns } from './drift-check.ts'
import type { DriftResource } from './drift-line.ts'

type ComparedResource = {
  what: 'payment' | 'refund' | 'dispute' | 'checkout_session'
  resource: DriftResource
  relation: string
  fields: readonly string[]
  /** SQL for the purchase of the row `t`. */
  purchase: string
  /** SQL condition: rows that the mirror must have. */
  where?: string
}

const purchaseOfPayment = (id: string) => `(select o.purchase_id from payments o
  where o.conference_id = :conference and o.payment_intent_id = ${id})`

const COMPARED_RESOURCES: readonly ComparedResource[] = [
  {
    what: 'payment',
    resource: 'payment-intents',
    relation: 'payments',
    fields: ['status', 'amount', 'amount_received', 'currency'],
    purchase: `coalesce(${purchaseOfPayment('t.id')}, t.purchase_id)`,
  },
  {
    what: 'refund',
    resource: 'refunds',
    relation: 'refunds',
    fields: ['status', 'amount', 'currency'],
    purchase: purchaseOfPayment('t.payment_intent'),
  },
  {
    what: 'dispute',
    resource: 'disputes',
    relation: 'disputes',
    fields: ['status', 'amount', 'currency'],
    purchase: purchaseOfPayment('t.payment_intent'),
  },
  {
    what: 'checkout_session',
    resource: 'checkout-sessions',
    relation: 'sessions',
    fields: ['status', 'payment_status'],
    purchase: 't.purchase_id',
    // Stripe sends no event for an open session.
    where: `and t.status <> 'open'`,
  },
]

function extraInMirror({
  what,
  resource,
  relation,
  purchase,
  where = '',
}: ComparedResource): DriftCheck {
  return {
    name: `mirror_extra_${what}`,
    kind: 'extra',
    what,
    resource,
    source: 'mirror',
    sql: () => `
      select ${rowColumns({
        key1: 't.id',
        purchase,
        stripeId: 't.id',
        there: 't.status',
        repair: `'sync'`,
      })}
      from there_${relation} t
      where not exists (select 1 from mirror_${relation} m where m.id = t.id) ${where}`,
  }
}

function differentInMirror({
  what,
  resource,
  relation,
  fields,
  purchase,
}: ComparedResource): DriftCheck {
  return {
    name: `mirror_different_${what}`,
    kind: 'different',
    what,
    resource,
    source: 'mirror',
    sql: () => `
      select ${rowColumns({
        key1: 't.id',
        key2: 'f.field',
        purchase,
        stripeId: 't.id',
        field: 'f.field',
        here: 'f.here',
        there: 'f.there',
        repair: `'sync'`,
      })}
      from there_${relation} t
      join mirror_${relation} m on m.id = t.id
      ${comparedFields(fields.map((field) => [field, `m.${field}::text`, `t.${field}::text`]))}
      where f.here is distinct from f.there`,
  }
}

/** Compares the mirror with objects fetched from Stripe. */
export const MIRROR_CHECKS: readonly DriftCheck[] = COMPARED_RESOURCES.flatMap((each) => [
  extraInMirror(each),
  differentInMirror(each),
])
