import { withTenant } from '../../db/tenant-scope.ts'
import { type Comparison, compareEvents } from './compare-events.ts'
import { withConferenceLock } from './conference-lock.ts'
import {
  isAlarming,
  type MissedEventsDeps,
  moveCursor,
  type Range,
  rangeOf,
  tell,
} from './missed-events.ts'

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
    const range = await rangeOf(deps.db, conferenceId)
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
    tell(deps, conferenceId, { listed, missing: missing.length, ignored: ignored.length })
    return check
  })
}

function summaryOf(
  deps: MissedEventsDeps,
  { slug }: Range,
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
    alarming: isAlarming(deps, missing.length),
  }
}
