import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Logger } from '../../shared/logger.ts'
import type { StripeClients } from '../client.ts'
import { inParallel } from '../in-parallel.ts'
import { askStripe } from '../stripe-errors.ts'
import type { StripeObject } from '../sync/stripe-object.ts'
import { ALL_CHECKS } from './checks/all-checks.ts'
import { MIRROR_CHECKS } from './checks/mirror-checks.ts'
import { MISSING_OPEN_SESSION } from './checks/missing-checks.ts'
import type { DriftCheck } from './drift-check.ts'
import type { DriftLine } from './drift-line.ts'
import { type LiveReader, readLive, toLiveObjects } from './live-objects.ts'
import { type LiveFilter, nextSubjects } from './live-subjects.ts'
import type { DriftSubject } from './mirror-drift.ts'
import { rowsOf, toLine } from './run-check.ts'

/** Purchases compared at once: their objects are held in memory and sent to Postgres. */
const BATCH = 25

/** Purchases read at the same time; the request budget sets the pace. */
const AT_ONCE = 4

const PAGE = 100

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

type Deps = { db: Db; clients: Pick<StripeClients, 'background'>; logger: Logger }

/**
 * Compares purchases and mirror with Stripe itself, inside the account's request budget: each
 * purchase is read as a reconcile would, and nothing is written. Payments that name a purchase which
 * does not know them are found in Stripe's list, unless one purchase is asked for.
 *
 * @throws AppError `stripe_key_missing`, `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
export async function* liveDrift(
  deps: Deps,
  subject: DriftSubject,
  { since, purchase, signal }: LiveOptions,
): AsyncGenerator<LiveStep> {
  const { conferenceId } = subject
  const reader = {
    ...(await deps.clients.background(conferenceId, signal)),
    logger: deps.logger,
  }
  const told = new Set<string | null>()
  for await (const step of ofPurchases(deps, subject, reader, { conferenceId, since, purchase })) {
    for (const { stripe_id: id } of step.lines) told.add(id)
    yield step
  }
  if (purchase !== null) return
  for await (const { lines, ...step } of ofPayments(deps, subject, reader, since)) {
    yield { ...step, lines: lines.filter(({ stripe_id: id }) => !told.has(id)) }
  }
}

const PURCHASE_CHECKS = [...ALL_CHECKS, MISSING_OPEN_SESSION, ...MIRROR_CHECKS]

async function* ofPurchases(
  deps: Deps,
  subject: DriftSubject,
  reader: LiveReader,
  filter: LiveFilter,
): AsyncGenerator<LiveStep> {
  let after = ''
  while (true) {
    const subjects = await withTenant(deps.db, subject, (trx) =>
      nextSubjects(trx, filter, after, BATCH),
    )
    const ids = subjects.map(({ ref }) => ref.purchaseId)
    const last = ids.at(-1)
    if (last === undefined) return
    after = last
    const read = await inParallel(subjects, AT_ONCE, (each) => readLive(reader, each))
    const lines = await compare(deps.db, subject, read.flat(), ids, PURCHASE_CHECKS)
    yield { purchases: ids.length, lines }
  }
}

// Of what a payment is for only the purchase's own reading can tell more.
const UNKNOWN_PAYMENTS = ALL_CHECKS.filter(
  ({ name }) => name === 'extra_payment' || name === 'extra_purchase',
)

async function* ofPayments(
  deps: Deps,
  subject: DriftSubject,
  { stripe }: LiveReader,
  since: Date | null,
): AsyncGenerator<LiveStep> {
  const created = since === null ? {} : { created: { gte: Math.floor(since.getTime() / 1000) } }
  let before: string | undefined
  while (true) {
    const page = await askStripe(() =>
      stripe.paymentIntents.list({
        limit: PAGE,
        ...created,
        ...(before === undefined ? {} : { starting_after: before }),
      }),
    )
    const ours = page.data.filter(
      ({ metadata }) => metadata?.['conference_id'] === subject.conferenceId,
    )
    const lines = await compare(deps.db, subject, ours, null, UNKNOWN_PAYMENTS)
    yield { purchases: 0, lines }
    before = page.data.at(-1)?.id
    if (!page.has_more || before === undefined) return
  }
}

async function compare(
  db: Db,
  subject: DriftSubject,
  objects: readonly StripeObject[],
  purchases: readonly string[] | null,
  checks: readonly DriftCheck[],
): Promise<DriftLine[]> {
  const { conferenceId, conference } = subject
  const comparison = { conferenceId, purchases, objects: JSON.stringify(toLiveObjects(objects)) }
  const scope = { conference, comparedWith: 'stripe', neverSynced: new Set<never>() } as const
  return withTenant(db, subject, async (trx) => {
    const lines: DriftLine[] = []
    for (const check of checks) {
      const rows = await rowsOf(trx, check, comparison, { after: null, limit: null })
      lines.push(...rows.map((row) => toLine(check, row, scope)))
    }
    return lines
  })
}
