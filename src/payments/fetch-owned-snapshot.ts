import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { isOver } from './attempt-machine.ts'
import type { PaymentGateway, SnapshotQuery } from './payment-gateway.ts'
import type { PaymentAttempt, PaymentOwner, PaymentRecords } from './payment-records.ts'
import type { PaymentSnapshot } from './payment-snapshot.ts'
import { storeSession } from './payment-store.ts'

/** What to fetch besides the objects that the owner has rows of. Stripe events give such hints. */
export type SnapshotHints = {
  /** Sessions that may belong to an attempt that has ended, or whose session we do not know. */
  sessionIds?: readonly string[]
  /** See `hintedPaymentIntents` of SnapshotQuery. */
  paymentIntents?: readonly string[]
  fraudWarnings?: boolean
}

/** `takenAt`: see SnapshotQuery. */
export type TakenTicket = { ticket: number; takenAt: number; records: PaymentRecords }

/** A purchase or a charge whose payments are fetched. */
export type SnapshotSource = {
  owner: PaymentOwner
  /**
   * Takes the next ticket in a commit of its own: it orders snapshots by the time at which they were
   * requested. Then reads the records. Null: no such owner.
   */
  takeTicket: () => Promise<TakenTicket | null>
  /** Locks the owner and reads its records. */
  lock: (trx: Tx) => Promise<PaymentRecords>
}

/**
 * Fetches what Stripe has of an owner's payments now, with the ticket that was taken before.
 *
 * @returns null if there is no such owner.
 * @throws AppError `stripe_unavailable` and the others of PaymentGateway.
 */
export async function fetchOwnedSnapshot(
  deps: { db: Db; gateway: PaymentGateway },
  source: SnapshotSource,
  hints: SnapshotHints,
): Promise<{ ticket: number; snapshot: PaymentSnapshot } | null> {
  const taken = await source.takeTicket()
  if (taken === null) return null
  const { ticket, takenAt } = taken
  let { records } = taken
  for (const sessionId of hints.sessionIds ?? []) {
    records = await adoptSession(deps, source, records, sessionId)
  }
  const query = { owner: source.owner, takenAt, ...objectsToFetch(records, hints) }
  return { ticket, snapshot: await deps.gateway.fetchSnapshot(query) }
}

/** What to fetch about an owner's payments. */
function objectsToFetch(
  { attempts, payments }: PaymentRecords,
  hints: SnapshotHints,
): Omit<SnapshotQuery, 'owner' | 'takenAt'> {
  const intents = new Map(
    payments.map(({ paymentIntent, attempt }) => [paymentIntent, { paymentIntent, attempt }]),
  )
  for (const { paymentIntentId: paymentIntent, attempt } of attempts) {
    if (paymentIntent !== null) intents.set(paymentIntent, { paymentIntent, attempt })
  }
  return {
    sessions: attempts.flatMap((attempt) => {
      const { sessionId } = attempt
      // A session that ended without a payment cannot be paid any more. An event about it is a hint
      // that this is not so.
      const isNeeded = sessionId !== null && (!isOver(attempt) || isHinted(hints, sessionId))
      return isNeeded ? [{ attempt: attempt.attempt, sessionId }] : []
    }),
    paymentIntents: [...intents.values()],
    hintedPaymentIntents: (hints.paymentIntents ?? []).filter((id) => !intents.has(id)),
    warnings: hints.fraudWarnings ?? false,
  }
}

const isHinted = ({ sessionIds = [] }: SnapshotHints, id: string) => sessionIds.includes(id)

/**
 * Stores a session on the attempt that requested it, if the process died between Stripe's response
 * and our commit: without that, the snapshot would not contain the session. The session must name
 * this owner, conference and attempt.
 *
 * @returns the records afterwards.
 */
async function adoptSession(
  { db, gateway }: { db: Db; gateway: PaymentGateway },
  { owner, lock }: SnapshotSource,
  records: PaymentRecords,
  sessionId: string,
): Promise<PaymentRecords> {
  const attempt = attemptAwaitingSession(records.attempts, sessionId)
  if (attempt === null) return records
  const session = await gateway.findSession(owner.conferenceId, sessionId)
  const isOurs =
    session?.metadata[`${owner.kind}_id`] === owner.id &&
    session.metadata['conference_id'] === owner.conferenceId &&
    session.metadata['attempt'] === String(attempt.attempt)
  if (!isOurs) return records
  const found = { sessionId, url: session.url, expiresAt: session.expiresAt }
  return withTenant(db, owner, async (trx) => {
    const now = await lock(trx)
    // A repeat of the request that died may have stored the session meanwhile.
    const waiting = attemptAwaitingSession(now.attempts, sessionId)
    if (waiting?.attempt !== attempt.attempt) return now
    await storeSession(trx, owner, attempt.attempt, found)
    return {
      ...now,
      attempts: now.attempts.map((one) => (one === waiting ? { ...one, ...found } : one)),
    }
  })
}

/** The attempt that may own a session which no attempt has, or null. */
function attemptAwaitingSession(
  attempts: PaymentAttempt[],
  sessionId: string,
): PaymentAttempt | null {
  if (attempts.some((attempt) => attempt.sessionId === sessionId)) return null
  const open = attempts.find(({ state, sessionId: id }) => state === 'creating' && id === null)
  return open ?? null
}
