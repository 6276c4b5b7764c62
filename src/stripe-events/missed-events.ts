import type { Config } from '../config.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import { newId } from '../shared/ids.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import type { EventOwner } from './classify-event.ts'
import { type Comparison, compareEvents } from './compare-events.ts'
import type { EventHook } from './event-hook.ts'
import type { EventInbox } from './event-store.ts'

// A broken endpoint is found at every run until somebody mends it.
const MAIL_EVERY_HOURS = 6

type MissedEventsDeps = {
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
type CheckRange = {
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
    const range = await loadCheckRange(deps.db, conferenceId)
    const list = { created: { gte: range.since } }
    const { listed, missing, ignored } = await compareEvents(deps, stripe, range.owner, list)
    const found = { listed, missing: missing.length, ignored: ignored.length }
    await withTenant(deps.db, { conferenceId }, async (trx) => {
      await moveCursor(trx, range)
      if (!isAboveThreshold(deps, found.missing) || !(await claimMailTurn(trx, conferenceId)))
        return
      const mail = missedEventsMail([{ slug: range.slug, missing }], true)
      await addJob(trx, 'mail_operators', { message: newId('mail'), ...mail })
    })
    reportMissing(deps, conferenceId, found)
    return found
  })
}

/** Takes the turn to write to the operators. */
async function claimMailTurn(trx: Tx, conferenceId: string): Promise<boolean> {
  const taken = await trx('conferences')
    .where({ id: conferenceId })
    .whereRaw(`coalesce(events_alarmed_at, '-infinity') < now() - make_interval(hours => ?)`, [
      MAIL_EVERY_HOURS,
    ])
    .update({ events_alarmed_at: trx.fn.now() })
  return taken === 1
}

async function loadCheckRange(db: Db, conferenceId: string): Promise<CheckRange> {
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
async function moveCursor(trx: Tx, { owner, startedAt }: CheckRange): Promise<void> {
  await trx('conferences').where({ id: owner.id }).update({ events_checked_until: startedAt })
}

/** One event that is late is no news; many are an endpoint that does not work. */
function isAboveThreshold(deps: Pick<MissedEventsDeps, 'config'>, missing: number): boolean {
  return missing > deps.config.pendingEventsThreshold
}

/** Counts and logs what was missing. */
function reportMissing(
  deps: Pick<MissedEventsDeps, 'config' | 'logger' | 'metrics'>,
  conferenceId: string,
  found: MissedEvents,
): void {
  if (found.missing === 0) return
  deps.metrics.missedEventsFound(found.missing)
  const line = { conference: conferenceId, ...found }
  if (isAboveThreshold(deps, found.missing)) {
    deps.logger.error(line, 'many events never came by webhook: check the endpoint at Stripe')
  } else deps.logger.warn(line, 'events that never came by webhook were found')
}

export type WebhookCheck = Comparison & {
  slug: string
  /** Of those listed: events that Stripe could not deliver to some endpoint of the account. */
  undelivered: number
  /** More are missing than the threshold allows. */
  alarming: boolean
}

/**
 * Compares both of Stripe's lists with the inbox, by id: recent events, like `findMissedEvents`, and
 * all that Stripe says it could not deliver, as far back as it keeps them (30 days) but not before
 * the conference had its key.
 *
 * @param reportOnly stores nothing and moves no cursor.
 * @returns null when another run for this conference is under way.
 * @throws AppError `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/api/events/list#list_events-delivery_success
 */
export function checkWebhooks(
  deps: MissedEventsDeps,
  conferenceId: string,
  { reportOnly }: { reportOnly: boolean },
): Promise<WebhookCheck | null> {
  return withConferenceLock(deps.db, conferenceId, async () => {
    const stripe = await deps.clients.forConference(conferenceId)
    const range = await loadCheckRange(deps.db, conferenceId)
    const compare = (list: Parameters<typeof compareEvents>[3]) =>
      compareEvents(deps, stripe, range.owner, list, !reportOnly)
    const recent = await compare({ created: { gte: range.since } })
    const undelivered = await compare({
      delivery_success: false,
      created: { gte: range.keySetAt },
    })
    const check = summaryOf(deps, range, recent, undelivered)
    if (!reportOnly) {
      await withTenant(deps.db, { conferenceId }, (trx) => moveCursor(trx, range))
    }
    const { listed, missing, ignored } = check
    reportMissing(deps, conferenceId, { listed, missing: missing.length, ignored: ignored.length })
    return check
  })
}

function summaryOf(
  deps: MissedEventsDeps,
  { slug }: CheckRange,
  recent: Comparison,
  undelivered: Comparison,
): WebhookCheck {
  // One that is in both lists is missing twice where nothing is stored.
  const both = (a: string[], b: string[]) => [...new Set([...a, ...b])]
  const missing = both(recent.missing, undelivered.missing)
  return {
    slug,
    listed: recent.listed,
    undelivered: undelivered.listed,
    missing,
    ignored: both(recent.ignored, undelivered.ignored),
    alarming: isAboveThreshold(deps, missing.length),
  }
}

/** Beyond it ids tell nobody anything. */
const MAX_LISTED_IDS = 20

/** What Stripe had and we had not, of one conference. */
export type ConferenceMissed = { slug: string; missing: readonly string[] }

/** Tells the operators that Stripe's events do not arrive. */
export function missedEventsMail(
  conferences: readonly ConferenceMissed[],
  stored: boolean,
): { subject: string; text: string } {
  const total = conferences.reduce((sum, { missing }) => sum + missing.length, 0)
  const lines = conferences.flatMap(({ slug, missing }) => [
    `${slug}: ${missing.length}`,
    ...missing.slice(0, MAX_LISTED_IDS).map((id) => `  ${id}`),
    ...(missing.length > MAX_LISTED_IDS ? [`  and ${missing.length - MAX_LISTED_IDS} more`] : []),
  ])
  const fate = stored
    ? 'They are in the inbox now and are worked on.'
    : 'They were only counted: `webhooks:check` without --report-only takes them in.'
  return {
    subject: `${total} of Stripe's events never came by webhook`,
    text: [
      `Stripe has ${total} events that should have come by webhook and did not.`,
      fate,
      `Check the endpoint in Stripe's dashboard (is it enabled, and does it answer 200?), and whether the signing secret is the present one.`,
      lines.join('\n'),
      '',
    ].join('\n\n'),
  }
}

// The first of the two keys of an advisory lock; any constant of our own.
const LOCK_CLASS = 730_196

/**
 * Runs `work` unless it runs for this conference already, here or in another process. The lock is
 * the session's and no transaction's, since the work talks to Stripe; Postgres frees it when the
 * process dies.
 *
 * @returns what `work` returned, or null when somebody else is at it.
 */
async function withConferenceLock<T>(
  db: Db,
  conferenceId: string,
  work: () => Promise<T>,
): Promise<T | null> {
  const connection: unknown = await db.client.acquireConnection()
  const ask = async (statement: string): Promise<boolean> => {
    const { rows } = await db
      .raw<{ rows: { yes: boolean }[] }>(`select ${statement}(?, hashtext(?)) as yes`, [
        LOCK_CLASS,
        conferenceId,
      ])
      .connection(connection)
    return rows[0]?.yes === true
  }
  try {
    if (!(await ask('pg_try_advisory_lock'))) return null
    try {
      return await work()
    } finally {
      await ask('pg_advisory_unlock')
    }
  } finally {
    await db.client.releaseConnection(connection)
  }
}
