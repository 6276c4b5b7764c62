import type Stripe from 'stripe'
import type { Config } from '../../config.ts'
import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import type { StripeClients } from '../client.ts'
import { askStripe } from '../stripe-errors.ts'
import { withConferenceLock } from './conference-lock.ts'
import type { EventInbox } from './event-inbox.ts'
import { type EventOwner, toInboxEvent } from './inbox-event.ts'
import { hintsOfEvent } from './parse-event.ts'

const PAGE = 100

export type MissedEventsDeps = {
  db: Db
  clients: StripeClients
  inbox: EventInbox
  logger: Logger
  metrics: ServiceMetrics
  config: Pick<Config, 'pendingEventsThreshold'>
}

export type MissedEvents = {
  /** Events that Stripe listed. */
  listed: number
  /** Stored now, and work for us: what a webhook should have told. */
  missing: number
  /** Stored now as `ignored`: types that an endpoint need not subscribe to, other conferences. */
  ignored: number
}

type Range = { owner: EventOwner; since: number; startedAt: Date }

/**
 * Compares Stripe's list of events with the table and stores what is missing, through the same inbox
 * as a webhook. Types are not filtered, so that "nothing missed" means just that. The range reaches
 * an hour behind the last run: an event may appear in the list later than its time says.
 *
 * @returns null when another run for this conference is under way.
 * @throws AppError `stripe_key_missing`, `stripe_…`; then the next run covers the same range again.
 * @see https://docs.stripe.com/webhooks/process-undelivered-events
 */
export function findMissedEvents(
  deps: MissedEventsDeps,
  conferenceId: string,
): Promise<MissedEvents | null> {
  return withConferenceLock(deps.db, conferenceId, async () => {
    const stripe = await deps.clients.forConference(conferenceId)
    const range = await rangeOf(deps.db, conferenceId)
    const found = await storeMissing(deps, stripe, range)
    await withTenant(deps.db, { conferenceId }, (trx) =>
      trx('conferences')
        .where({ id: conferenceId })
        .update({ events_checked_until: range.startedAt }),
    )
    alarm(deps, conferenceId, found)
    return found
  })
}

async function rangeOf(db: Db, conferenceId: string): Promise<Range> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx('conferences')
      .where({ id: conferenceId })
      .first<{
        livemode: boolean | null
        stripe_account: string | null
        since: number
        now: Date
      }>(
        'livemode',
        'stripe_account',
        trx.raw(`floor(extract(epoch from
          coalesce(events_checked_until - interval '1 hour', stripe_key_set_at)))::bigint as since`),
        trx.raw('now() as now'),
      ),
  )
  return {
    owner: { id: conferenceId, livemode: row.livemode, stripeAccount: row.stripe_account },
    since: row.since,
    startedAt: row.now,
  }
}

async function storeMissing(
  deps: MissedEventsDeps,
  stripe: Stripe,
  { owner, since }: Range,
): Promise<MissedEvents> {
  const found: MissedEvents = { listed: 0, missing: 0, ignored: 0 }
  let after: string | undefined
  for (;;) {
    const page = await askStripe(() =>
      stripe.events.list({
        created: { gte: since },
        limit: PAGE,
        ...(after === undefined ? {} : { starting_after: after }),
      }),
    )
    found.listed += page.data.length
    const stored = await storePage(deps, owner, page.data)
    found.missing += stored.missing
    found.ignored += stored.ignored
    after = page.data.at(-1)?.id
    if (!page.has_more || after === undefined) return found
  }
}

async function storePage(
  deps: MissedEventsDeps,
  owner: EventOwner,
  events: Stripe.Event[],
): Promise<{ missing: number; ignored: number }> {
  const known = await knownIds(
    deps.db,
    owner.id,
    events.map(({ id }) => id),
  )
  const rows = events.flatMap((event) => {
    const hints = known.has(event.id) ? null : hintsOfEvent(event)
    if (hints === null) return []
    return [toInboxEvent(hints, owner, Buffer.from(JSON.stringify(event)), 'missed')]
  })
  const results = await Promise.all(
    rows.map(async (row) => ({ row, stored: await deps.inbox.store(row) })),
  )
  // Its webhook may have been on its way and arrived just now.
  const added = results.filter(({ stored }) => stored === 'new')
  for (const { row } of added) {
    deps.metrics.eventReceived(row.status === 'ignored' ? 'ignored' : 'stored')
  }
  const missing = added.filter(({ row }) => row.status === 'pending').length
  return { missing, ignored: added.length - missing }
}

async function knownIds(db: Db, conferenceId: string, ids: string[]): Promise<Set<string>> {
  const rows = await withTenant(db, { conferenceId }, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId })
      .whereIn('id', ids)
      .select<{ id: string }[]>('id'),
  )
  return new Set(rows.map(({ id }) => id))
}

function alarm(deps: MissedEventsDeps, conferenceId: string, found: MissedEvents): void {
  if (found.missing === 0) return
  deps.metrics.missedEventsFound(found.missing)
  const line = { conference: conferenceId, ...found }
  if (found.missing > deps.config.pendingEventsThreshold) {
    deps.logger.error(line, 'many events never came by webhook: check the endpoint at Stripe')
  } else deps.logger.warn(line, 'events that never came by webhook were found')
}
