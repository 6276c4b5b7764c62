import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../http/caller.ts'
import { type DriftLine, type DriftSummary, NO_DRIFT } from '../stripe/drift/drift-line.ts'
import { toMirrorStateBody } from '../stripe/drift/drift-schemas.ts'
import { liveDrift } from '../stripe/drift/live-drift.ts'
import { type DriftSubject, pageDrift } from '../stripe/drift/mirror-drift.ts'
import type { Session } from './with-session.ts'

/** What a comparison found in one conference. */
export type ConferenceDrift = {
  conference: string
  summary: DriftSummary
  lines: DriftLine[]
  /** More lines than were asked for. */
  hasMore: boolean
  /** Null: it was compared with Stripe itself. */
  mirror: ReturnType<typeof toMirrorStateBody> | null
  /** Purchases that were read from Stripe; null: none, it was compared with the mirror. */
  purchasesRead: number | null
}

const PAGE = 1_000

/** Compares with the mirror, page by page. */
export async function mirrorDriftOf(
  { db }: Pick<Session, 'db'>,
  { conferenceId }: Caller,
  { purchase, limit }: { purchase: string | undefined; limit: number },
): Promise<ConferenceDrift> {
  const subject: DriftSubject = { conferenceId, conference: conferenceId }
  const ask = (cursor: string | undefined, more: number) =>
    withTenant(db, subject, (trx) =>
      pageDrift(trx, subject, { purchase }, { limit: Math.min(PAGE, more), cursor }),
    )
  const first = await ask(undefined, limit)
  const lines = [...first.data]
  let next = first.next_cursor
  while (next !== null && lines.length < limit) {
    const page = await ask(next, limit - lines.length)
    lines.push(...page.data)
    next = page.next_cursor
  }
  return {
    conference: conferenceId,
    summary: first.summary ?? NO_DRIFT,
    lines,
    hasMore: next !== null,
    mirror: toMirrorStateBody(first.mirror),
    purchasesRead: null,
  }
}

/** Compares with Stripe itself. Lines above the limit are counted and not kept. */
export async function liveDriftOf(
  session: Pick<Session, 'db' | 'clients' | 'logger'>,
  { conferenceId }: Caller,
  options: { purchase: string | undefined; since: Date; limit: number; signal: AbortSignal },
): Promise<ConferenceDrift> {
  const { purchase, since, limit, signal } = options
  const subject: DriftSubject = { conferenceId, conference: conferenceId }
  const summary = { ...NO_DRIFT }
  const lines: DriftLine[] = []
  let purchasesRead = 0
  const steps = liveDrift(session, subject, {
    since: purchase === undefined ? since : null,
    purchase: purchase ?? null,
    signal,
  })
  for await (const step of steps) {
    purchasesRead += step.purchases
    for (const line of step.lines) summary[line.kind] += 1
    lines.push(...step.lines.slice(0, limit - lines.length))
  }
  const total = summary.missing + summary.extra + summary.different
  return {
    conference: conferenceId,
    summary,
    lines,
    hasMore: total > lines.length,
    mirror: null,
    purchasesRead,
  }
}
