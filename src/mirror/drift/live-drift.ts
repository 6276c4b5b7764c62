import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { PurchaseRef, SnapshotQuery } from '../../payments/payment-gateway.ts'
import { AppError } from '../../shared/errors.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import type { Logger } from '../../shared/logger.ts'
import { fetchPaymentSnapshot } from '../../stripe/fetch-payment-snapshot.ts'
import type { StripeClients, StripeConnection } from '../../stripe/stripe-client.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-object.ts'
import type { MirrorRow } from '../mirror-column.ts'
import { resourceOfObject } from '../resource-registry.ts'
import { readColumns, toMirrorRow } from '../write-mirror-rows.ts'
import { type DriftCheck, queryDriftRows, toDriftLine } from './drift-check.ts'
import type { DriftLine } from './drift-line.ts'
import type { DriftSubject } from './mirror-drift.ts'
import { MIRROR_CHECKS } from './mirror-drift-checks.ts'
import { MISSING_OPEN_SESSION } from './payment-drift-checks.ts'
import { ALL_CHECKS } from './purchase-drift-checks.ts'

/** Purchases compared at once: their objects are held in memory and sent to Postgres. */
const BATCH_SIZE = 25

/** Purchases read at the same time; the request budget sets the pace. */
const CONCURRENCY = 4

const PAGE_SIZE = 100

export type LiveOptions = {
  /**
   * Purchases made since then, and payments that Stripe made since then. Null: no bound, for one
   * purchase.
   */
  since: Date | null
  purchase: string | null
  signal?: AbortSignal
}

/** Some purchases that were read, and what differs of them. */
export type LiveStep = { purchases: number; lines: DriftLine[] }

type LiveDriftDeps = { db: Db; clients: Pick<StripeClients, 'background'>; logger: Logger }

/**
 * Compares purchases and mirror with Stripe itself, inside the account's request budget: each
 * purchase is read as a reconcile would, and nothing is written. Payments that name a purchase which
 * does not know them are found in Stripe's list, unless one purchase is asked for.
 *
 * @throws AppError `stripe_key_missing`, `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
export async function* liveDrift(
  deps: LiveDriftDeps,
  subject: DriftSubject,
  { since, purchase, signal }: LiveOptions,
): AsyncGenerator<LiveStep> {
  const { conferenceId } = subject
  const reader = {
    ...(await deps.clients.background(conferenceId, signal)),
    logger: deps.logger,
  }
  const told = new Set<string | null>()
  for await (const step of purchaseDrift(deps, subject, reader, {
    conferenceId,
    since,
    purchase,
  })) {
    for (const { stripe_id: id } of step.lines) told.add(id)
    yield step
  }
  if (purchase !== null) return
  for await (const { lines, ...step } of unknownPaymentDrift(deps, subject, reader, since)) {
    yield { ...step, lines: lines.filter(({ stripe_id: id }) => !told.has(id)) }
  }
}

const PURCHASE_CHECKS = [...ALL_CHECKS, MISSING_OPEN_SESSION, ...MIRROR_CHECKS]

async function* purchaseDrift(
  deps: LiveDriftDeps,
  subject: DriftSubject,
  reader: StripeReader,
  filter: LiveFilter,
): AsyncGenerator<LiveStep> {
  let after = ''
  while (true) {
    const subjects = await withTenant(deps.db, subject, (trx) =>
      nextPurchases(trx, filter, after, BATCH_SIZE),
    )
    const ids = subjects.map(({ ref }) => ref.purchaseId)
    const last = ids.at(-1)
    if (last === undefined) return
    after = last
    const read = await inParallel(subjects, CONCURRENCY, (each) =>
      readPurchaseObjects(reader, each),
    )
    const lines = await compareObjects(deps.db, subject, read.flat(), ids, PURCHASE_CHECKS)
    yield { purchases: ids.length, lines }
  }
}

// Of what a payment is for only the purchase's own reading can tell more.
const UNKNOWN_PAYMENTS = ALL_CHECKS.filter(
  ({ name }) => name === 'extra_payment' || name === 'extra_purchase',
)

async function* unknownPaymentDrift(
  deps: LiveDriftDeps,
  subject: DriftSubject,
  { stripe }: StripeReader,
  since: Date | null,
): AsyncGenerator<LiveStep> {
  const created = since === null ? {} : { created: { gte: Math.floor(since.getTime() / 1000) } }
  let before: string | undefined
  while (true) {
    const page = await callStripe(() =>
      stripe.paymentIntents.list({
        limit: PAGE_SIZE,
        ...created,
        ...(before === undefined ? {} : { starting_after: before }),
      }),
    )
    const ours = page.data.filter(
      ({ metadata }) => metadata?.['conference_id'] === subject.conferenceId,
    )
    const lines = await compareObjects(deps.db, subject, ours, null, UNKNOWN_PAYMENTS)
    yield { purchases: 0, lines }
    before = page.data.at(-1)?.id
    if (!page.has_more || before === undefined) return
  }
}

async function compareObjects(
  db: Db,
  subject: DriftSubject,
  objects: readonly StripeObject[],
  purchases: readonly string[] | null,
  checks: readonly DriftCheck[],
): Promise<DriftLine[]> {
  const { conferenceId, conference } = subject
  const comparison = {
    conferenceId,
    purchases,
    objects: JSON.stringify(toObjectsByResource(objects)),
  }
  const scope = { conference, comparedWith: 'stripe', neverSynced: new Set<never>() } as const
  return withTenant(db, subject, async (trx) => {
    const lines: DriftLine[] = []
    for (const check of checks) {
      const rows = await queryDriftRows(trx, check, comparison, { after: null, limit: null })
      lines.push(...rows.map((row) => toDriftLine(check, row, scope)))
    }
    return lines
  })
}

type LiveFilter = { conferenceId: string; since: Date | null; purchase: string | null }

/**
 * The next purchases, by id, that went to Stripe at all: those made since a time, or the one that is
 * named.
 */
async function nextPurchases(
  trx: Tx,
  { conferenceId, since, purchase }: LiveFilter,
  after: string,
  limit: number,
): Promise<PurchaseToRead[]> {
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

/** Objects as the mirror would have them, by resource, without the whole object. */
export type ObjectsByResource = { [resource: string]: Omit<MirrorRow, 'data'>[] }

type StripeReader = StripeConnection & { logger: Logger }

/** What is known of a purchase, to be read. */
type PurchaseToRead = {
  ref: PurchaseRef
  sessions: SnapshotQuery['sessions']
  paymentIntents: string[]
  /** Payments that name the purchase in the mirror and are not known here. */
  hints: string[]
}

/**
 * Reads a purchase's objects from Stripe as a reconcile does, and nothing is written. What Stripe
 * does not have is simply not among them.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
async function readPurchaseObjects(
  reader: StripeReader,
  subject: PurchaseToRead,
): Promise<StripeObject[]> {
  try {
    return await readObjects(reader, subject)
  } catch (error) {
    if (!isMissingObject(error)) throw error
    return readObjects(reader, await withoutMissing(reader, subject))
  }
}

const isMissingObject = (error: unknown) =>
  error instanceof AppError && error.extra['stripe_code'] === 'resource_missing'

async function readObjects(reader: StripeReader, subject: PurchaseToRead): Promise<StripeObject[]> {
  const seen = new Map<string, StripeObject>()
  const { ref, sessions, paymentIntents, hints } = subject
  await fetchPaymentSnapshot({
    ...reader,
    query: {
      ref,
      sessions,
      paymentIntents: paymentIntents.map((paymentIntent) => ({ paymentIntent, attempt: null })),
      hintedPaymentIntents: hints,
      warnings: false,
    },
    recorder: {
      now: () => 0,
      record(objects) {
        for (const object of objects) seen.set(object.id, object)
      },
    },
  })
  return [...seen.values()]
}

async function withoutMissing(
  { stripe }: StripeReader,
  subject: PurchaseToRead,
): Promise<PurchaseToRead> {
  const sessions: PurchaseToRead['sessions'] = []
  for (const session of subject.sessions) {
    const found = await fetchOrNull(() => stripe.checkout.sessions.retrieve(session.sessionId))
    if (found !== null) sessions.push(session)
  }
  const paymentIntents: string[] = []
  for (const id of subject.paymentIntents) {
    const found = await fetchOrNull(() => stripe.paymentIntents.retrieve(id))
    if (found !== null) paymentIntents.push(id)
  }
  return { ...subject, sessions, paymentIntents }
}

/** Objects as the relations of stripe-side.ts take them. */
function toObjectsByResource(objects: readonly StripeObject[]): ObjectsByResource {
  const live: ObjectsByResource = {}
  for (const object of objects) {
    const resource = resourceOfObject(object.object ?? '')
    if (resource === undefined) continue
    const { data: _data, ...row } = toMirrorRow(resource, object, readColumns(resource, object))
    live[resource.name] = [...(live[resource.name] ?? []), row]
  }
  return live
}
