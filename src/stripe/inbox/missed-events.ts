import type { Config } from '../../config.ts'
import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/add-job.ts'
import { newId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import type { StripeClients } from '../client.ts'
import { compareEvents } from './compare-events.ts'
import { withConferenceLock } from './conference-lock.ts'
import type { EventHook } from './event-hook.ts'
import type { EventInbox } from './event-inbox.ts'
import type { EventOwner } from './inbox-event.ts'
import { missedEventsMail } from './missed-events-mail.ts'

// A broken endpoint is found at every run until somebody mends it.
const MAIL_EVERY_HOURS = 6

export type MissedEventsDeps = {
  db: Db
  clients: StripeClients
  inbox: EventInbox
  logger: Logger
  metrics: ServiceMetrics
  config: Pick<Config, 'pendingEventsThreshold'>
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
}

export type MissedEvents = {
  /** Events that Stripe listed. */
  listed: number
  /** Stored now, and work for us: what a webhook should have told. */
  missing: number
  /** Stored now as `ignored`: types that an endpoint need not subscribe to, other conferences. */
  ignored: number
}

/** Which events of a conference are to be looked at. Times in seconds since 1970. */
export type Range = {
  owner: EventOwner
  slug: string
  since: number
  keySetAt: number
  startedAt: Date
}

/**
 * Compares Stripe's list of events with the table and stores what is missing, through the same inbox
 * as a webhook. Types are not filtered, so that "nothing missed" means just that. The range reaches
 * an hour behind the last run: an event may appear in the list later than its time says. When many
 * were missing, the operators are written to.
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
    const list = { created: { gte: range.since } }
    const { listed, missing, ignored } = await compareEvents(deps, stripe, range.owner, list)
    const found = { listed, missing: missing.length, ignored: ignored.length }
    await withTenant(deps.db, { conferenceId }, async (trx) => {
      await moveCursor(trx, range)
      if (!isAlarming(deps, found.missing) || !(await mayMail(trx, conferenceId))) return
      const mail = missedEventsMail([{ slug: range.slug, missing }], true)
      await addJob(trx, 'mail_operators', { message: newId('mail'), ...mail })
    })
    tell(deps, conferenceId, found)
    return found
  })
}

/** Takes the turn to write to the operators. */
async function mayMail(trx: Tx, conferenceId: string): Promise<boolean> {
  const taken = await trx('conferences')
    .where({ id: conferenceId })
    .whereRaw(`coalesce(events_alarmed_at, '-infinity') < now() - make_interval(hours => ?)`, [
      MAIL_EVERY_HOURS,
    ])
    .update({ events_alarmed_at: trx.fn.now() })
  return taken === 1
}

export async function rangeOf(db: Db, conferenceId: string): Promise<Range> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx('conferences')
      .where({ id: conferenceId })
      .first<{
        slug: string
        livemode: boolean | null
        stripe_account: string | null
        since: number
        key_set_at: number
        now: Date
      }>(
        'slug',
        'livemode',
        'stripe_account',
        trx.raw(`floor(extract(epoch from
          coalesce(events_checked_until - interval '1 hour', stripe_key_set_at)))::bigint as since`),
        trx.raw('floor(extract(epoch from stripe_key_set_at))::bigint as key_set_at'),
        trx.raw('now() as now'),
      ),
  )
  return {
    owner: { id: conferenceId, livemode: row.livemode, stripeAccount: row.stripe_account },
    slug: row.slug,
    since: row.since,
    keySetAt: row.key_set_at,
    startedAt: row.now,
  }
}

/** The next look begins an hour before this one did. */
export async function moveCursor(trx: Tx, { owner, startedAt }: Range): Promise<void> {
  await trx('conferences').where({ id: owner.id }).update({ events_checked_until: startedAt })
}

/** One event that is late is no news; many are an endpoint that does not work. */
export function isAlarming(deps: Pick<MissedEventsDeps, 'config'>, missing: number): boolean {
  return missing > deps.config.pendingEventsThreshold
}

/** Counts and logs what was missing. */
export function tell(
  deps: Pick<MissedEventsDeps, 'config' | 'logger' | 'metrics'>,
  conferenceId: string,
  found: MissedEvents,
): void {
  if (found.missing === 0) return
  deps.metrics.missedEventsFound(found.missing)
  const line = { conference: conferenceId, ...found }
  if (isAlarming(deps, found.missing)) {
    deps.logger.error(line, 'many events never came by webhook: check the endpoint at Stripe')
  } else deps.logger.warn(line, 'events that never came by webhook were found')
}
