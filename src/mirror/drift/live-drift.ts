import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { SnapshotQuery } from '../../payments/payment-gateway.ts'
import type { PurchaseRef } from '../../purchases/bulk-purchase-service.ts'
import { AppError } from '../../shared/errors.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import type { Logger } from '../../shared/logger.ts'
import { fetchPaymentSnapshot } from '../../stripe/fetch-payment-snapshot.ts'
import type { StripeClients, StripeConnection } from '../../stripe/stripe-client.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import type { MirrorRow } from '../mirror-column.ts'
import { resourceOfObject } from '../resource-registry.ts'
import { readColumns, toMirrorRow } from '../write-mirror-rows.ts'
import { type DriftCheck, queryDriftRows, toDriftLine } from './drift-check.ts'
import type { DriftLine } from './drift-line.ts'
import type { DriftSubject } from './mirror-drift.ts'
import { MIRROR_CHECKS } from './mirror-drift-checks.ts'
import { MISSING_OPEN_SESSION } from './payment-drift-checks.ts'
import { ALL_CHECKS } from './purchase-drift-checks.ts'

/** Purchases in one comparison. Their objects are held in memory and sent to Postgres. */
const BATCH_SIZE = 25

/** Purchases fetched in parallel. The rate limiter sets the pace. */
const CONCURRENCY = 4

const PAGE_SIZE = 100

export type LiveOptions = {
  /** Compare purchases and payments created since then. Null: no limit. */
  since: Date | null
  purchase: string | null
  signal?: AbortSignal
}

/** The number of purchases fetched in this step, and their differences. */
export type LiveStep = { purchases: number; lines: DriftLine[] }

type LiveDriftDeps = { db: Db; clients: Pick<StripeClients, 'background'>; logger: Logger }

/**
 * Compares the purchases and the mirror with Stripe itself, within the account's rate limit. Fetches each
 * purchase as a reconcile does, but writes nothing. Without `purchase`, also lists Stripe's payments to
 * find those that name a purchase which does not know them.
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
  const reported = new Set<string | null>()
  const filter = { conferenceId, since, purchase }
  for await (const step of purchaseDrift(deps, subject, reader, filter)) {
    for (const { stripe_id: id } of step.lines) reported.add(id)
    yield step
  }
  if (purchase !== null) return
  for await (const { lines, ...step } of unknownPaymentDrift(deps, subject, reader, since)) {
    yield { ...step, lines: lines.filter(({ stripe_id: id }) => !reported.has(id)) }
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
    const objects = await inParallel(subjects, CONCURRENCY, (each) =>
      fetchPurchaseObjects(reader, each),
    )
    const lines = await compareObjects(deps.db, subject, objects.flat(), ids, PURCHASE_CHECKS)
    yield { purchases: ids.length, lines }
  }
}

// Other checks of a payment need all objects of its purchase, which are not fetched here.
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

/** The next purchases, by id, that have a session or a payment at Stripe. */
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
      `(exists (select 1 from payment_attempts o where o.conference_id = p.conference_id
          and o.purchase_id = p.id and o.session_id is not null)
        or exists (select 1 from payments o where o.conference_id = p.conference_id
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

/** Includes expired sessions: a payment can have succeeded before the session expired. */
function sessionsOf(trx: Tx, conferenceId: string, ids: readonly string[]) {
  return trx('payment_attempts')
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
  return trx('payments')
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

/** Rows as the mirror stores them, by resource, without `data`. */
type ObjectsByResource = { [resource: string]: Omit<MirrorRow, 'data'>[] }

type StripeReader = StripeConnection & { logger: Logger }

/** The Stripe ids of a purchase. */
type PurchaseToRead = {
  ref: PurchaseRef
  sessions: SnapshotQuery['sessions']
  paymentIntents: string[]
  /** Payments in the mirror that name the purchase. */
  hints: string[]
}

/**
 * Fetches the objects of a purchase from Stripe as a reconcile does, but writes nothing. Omits objects
 * that Stripe does not have.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
async function fetchPurchaseObjects(
  reader: StripeReader,
  subject: PurchaseToRead,
): Promise<StripeObject[]> {
  try {
    return await fetchObjects(reader, subject)
  } catch (error) {
    if (!isMissingObject(error)) throw error
    return fetchObjects(reader, await withoutMissing(reader, subject))
  }
}

const isMissingObject = (error: unknown) =>
  error instanceof AppError && error.extra['stripe_code'] === 'resource_missing'

async function fetchObjects(
  reader: StripeReader,
  subject: PurchaseToRead,
): Promise<StripeObject[]> {
  const seen = new Map<string, StripeObject>()
  const { ref, sessions, paymentIntents, hints } = subject
  await fetchPaymentSnapshot({
    ...reader,
    query: {
      owner: { conferenceId: ref.conferenceId, kind: 'purchase', id: ref.purchaseId },
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

/** Converts fetched objects to the `objects` binding of the checks. */
function toObjectsByResource(objects: readonly StripeObject[]): ObjectsByResource {
  const byResource: ObjectsByResource = {}
  for (const object of objects) {
    const resource = resourceOfObject(object.object ?? '')
    if (resource === undefined) continue
    const { data: _data, ...row } = toMirrorRow(resource, object, readColumns(resource, object))
    byResource[resource.name] = [...(byResource[resource.name] ?? []), row]
  }
  return byResource
}
