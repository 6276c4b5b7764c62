import {
  claimEventCheck,
  claimMissedEventsMail,
  type EventCheckRange,
  loadEventCheckRange,
  releaseEventCheck,
  saveEventCheck,
} from '../conferences/event-check-store.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import { newId } from '../shared/ids.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { type CompareDeps, type Comparison, compareEvents } from './compare-events.ts'

type MissedEventsDeps = Omit<CompareDeps, 'beforePage'> & {
  clients: StripeClients
  logger: Logger
  /** More missing events than this are an alarm. */
  config: { pendingEventsThreshold: number }
}

export type MissedEvents = {
  /** Number of events that Stripe listed. */
  listed: number
  /** Stored by this run as `pending`: they should have come by webhook. */
  missing: number
  /** Stored by this run as `ignored`: types without use here, or events of other conferences. */
  ignored: number
}

// A broken endpoint is found by every run until it is repaired.
const MAIL_EVERY_HOURS = 6

/**
 * Finds the events that came by no webhook: compares Stripe's list of events with our table and stores
 * the missing ones through the same inbox as a webhook. The list is not filtered by type, so a lost
 * event of any type is found. The range starts one hour before the last run, because an event may
 * appear in the list later than its timestamp. When many events were missing, the operators get a
 * mail.
 *
 * @param checkId of this run. The next attempt of a job whose worker died has the same id, so it does not
 * wait for the lease of the dead one.
 * @returns null when another run for this conference is in progress.
 * @throws AppError `stripe_key_missing`, `stripe_…`; then the next run covers the same range again.
 * @see https://docs.stripe.com/webhooks/process-undelivered-events
 */
export function findMissedEvents(
  deps: MissedEventsDeps,
  conferenceId: string,
  checkId: string = newId('eventCheck'),
): Promise<MissedEvents | null> {
  return claimCheck(deps.db, conferenceId, checkId, async (beforePage) => {
    const stripe = await deps.clients.forConference(conferenceId)
    const range = await loadRange(deps.db, conferenceId)
    const list = { created: { gte: range.since } }
    const { listed, missing, ignored } = await compareEvents(
      { ...deps, beforePage },
      stripe,
      range.owner,
      list,
    )
    const found = { listed, missing: missing.length, ignored: ignored.length }
    await withTenant(deps.db, { conferenceId }, async (trx) => {
      await saveEventCheck(trx, range)
      if (!isAboveThreshold(deps, found.missing)) return
      if (!(await claimMissedEventsMail(trx, conferenceId, MAIL_EVERY_HOURS))) return
      const mail = missedEventsMail([{ slug: range.slug, missing }], true)
      await addJob(trx, 'mail_operators', { message: newId('mail'), ...mail })
    })
    reportMissing(deps, conferenceId, found)
    return found
  })
}

export type WebhookCheck = Comparison & {
  slug: string
  /** Listed events that Stripe could not deliver to some endpoint of the account. */
  undelivered: number
  /** More events are missing than the threshold allows. */
  alarming: boolean
}

/**
 * Compares two of Stripe's lists with our table: the recent events, as `findMissedEvents` does, and all
 * events that Stripe could not deliver. Stripe keeps events for 30 days; events from before the
 * conference's key was stored are left out.
 *
 * @param reportOnly - stores no event and does not record the check.
 * @returns null when another run for this conference is in progress.
 * @throws AppError `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/api/events/list#list_events-delivery_success
 */
export function checkWebhooks(
  deps: MissedEventsDeps,
  conferenceId: string,
  { reportOnly }: { reportOnly: boolean },
): Promise<WebhookCheck | null> {
  return claimCheck(deps.db, conferenceId, newId('eventCheck'), async (beforePage) => {
    const stripe = await deps.clients.forConference(conferenceId)
    const range = await loadRange(deps.db, conferenceId)
    const compare = (list: Parameters<typeof compareEvents>[3]) =>
      compareEvents({ ...deps, beforePage }, stripe, range.owner, list, !reportOnly)
    const recent = await compare({ created: { gte: range.since } })
    const undelivered = await compare({
      delivery_success: false,
      created: { gte: range.keySetAt },
    })
    const check = summaryOf(deps, range, recent, undelivered)
    if (!reportOnly) {
      await withTenant(deps.db, { conferenceId }, (trx) => saveEventCheck(trx, range))
    }
    const { listed, missing, ignored } = check
    reportMissing(deps, conferenceId, { listed, missing: missing.length, ignored: ignored.length })
    return check
  })
}

const loadRange = (db: Db, conferenceId: string) =>
  withTenant(db, { conferenceId }, (trx) => loadEventCheckRange(trx, conferenceId))

function summaryOf(
  deps: MissedEventsDeps,
  { slug }: EventCheckRange,
  recent: Comparison,
  undelivered: Comparison,
): WebhookCheck {
  // An event in both lists is found missing twice when nothing is stored.
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

/** A single late event is normal; many missing events mean that the endpoint does not work. */
function isAboveThreshold({ config }: MissedEventsDeps, missing: number): boolean {
  return missing > config.pendingEventsThreshold
}

/** Counts and logs the missing events. */
function reportMissing(deps: MissedEventsDeps, conferenceId: string, found: MissedEvents): void {
  if (found.missing === 0) return
  deps.metrics.missedEventsFound(found.missing)
  const line = { conference: conferenceId, ...found }
  if (isAboveThreshold(deps, found.missing)) {
    deps.logger.error(line, 'many Stripe events did not arrive by webhook: check the endpoint')
  } else deps.logger.warn(line, 'found Stripe events that did not arrive by webhook')
}

const MAX_LISTED_IDS = 20

/** The ids of a conference's missing events. */
export type ConferenceMissed = { slug: string; missing: readonly string[] }

/** The mail to the operators about missing events. Its lines have at most 76 characters. */
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
  return {
    subject: `${total} Stripe events did not arrive by webhook`,
    text: [
      `Stripe lists ${total} events that should have arrived by webhook but did not.`,
      stored
        ? 'They are stored now and will be processed.'
        : 'They are not stored. Run `webhooks:check` without --report-only.',
      [
        "Check the endpoint in Stripe's dashboard:",
        '- Is it enabled?',
        '- Does it respond with 200?',
        '- Is its signing secret stored here?',
      ].join('\n'),
      lines.join('\n'),
      '',
    ].join('\n\n'),
  }
}

/** Longer than one page takes with all retries of its request. Every page prolongs the lease. */
const LEASE_SECONDS = 120

/**
 * Runs `work` unless it already runs for this conference, in this process or another one. The claim is a
 * lease in the conference's row: `work` calls Stripe, so it holds neither a transaction nor a connection.
 *
 * @param work gets a function that prolongs the lease.
 * @returns the result of `work`, or null when another run holds the claim.
 */
async function claimCheck<T>(
  db: Db,
  conferenceId: string,
  checkId: string,
  work: (prolong: () => Promise<void>) => Promise<T>,
): Promise<T | null> {
  const claim = () =>
    withTenant(db, { conferenceId }, (trx) =>
      claimEventCheck(trx, conferenceId, checkId, LEASE_SECONDS),
    )
  if (!(await claim())) return null
  try {
    return await work(async () => {
      if (!(await claim()))
        throw new Error('Another run has taken over the check of this conference.')
    })
  } finally {
    await withTenant(db, { conferenceId }, (trx) => releaseEventCheck(trx, conferenceId, checkId))
  }
}
