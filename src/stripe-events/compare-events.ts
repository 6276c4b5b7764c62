import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { callStripe } from '../stripe/stripe-errors.ts'
import { classifyEvent, type EventOwner, type IncomingEvent } from './classify-event.ts'
import { hintsOfEvent } from './event-hints.ts'
import { type EventHook, hooksFor } from './event-hook.ts'
import type { EventInbox } from './event-store.ts'

const PAGE = 100

export type CompareDeps = {
  db: Db
  inbox: EventInbox
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
}

export type Comparison = {
  /** Events that Stripe listed. */
  listed: number
  /** Those of them that we did not have and that are work for us: what a webhook should have told. */
  missing: string[]
  /** Those that we did not have and need not: types without use here, other conferences. */
  ignored: string[]
}

/** What becomes of an event that we do not have. Returns false when it came by itself meanwhile. */
type Take = (row: IncomingEvent) => Promise<boolean>

/**
 * Compares one of Stripe's lists of events with the table, page by page, by their ids.
 *
 * @param store false: nothing is stored, it is only told what would be.
 * @throws AppError `stripe_…`; what was stored until then stays.
 */
export async function compareEvents(
  deps: CompareDeps,
  stripe: Stripe,
  owner: EventOwner,
  list: Stripe.EventListParams,
  store = true,
): Promise<Comparison> {
  const found: Comparison = { listed: 0, missing: [], ignored: [] }
  const take: Take = store ? (row) => ingest(deps, row) : async () => true
  let after: string | undefined
  for (;;) {
    const page = await callStripe(() =>
      stripe.events.list({
        ...list,
        limit: PAGE,
        ...(after === undefined ? {} : { starting_after: after }),
      }),
    )
    found.listed += page.data.length
    const taken = await takeMissing(deps, owner, page.data, take)
    for (const { id, status } of taken) {
      found[status === 'pending' ? 'missing' : 'ignored'].push(id)
    }
    after = page.data.at(-1)?.id
    if (!page.has_more || after === undefined) return found
  }
}

async function takeMissing(
  { db, eventHooks = [] }: CompareDeps,
  owner: EventOwner,
  events: Stripe.Event[],
  take: Take,
): Promise<IncomingEvent[]> {
  const ids = events.map(({ id }) => id)
  const known = await knownIds(db, owner.id, ids)
  const isWanted = (type: string) => hooksFor(eventHooks, type).length > 0
  const rows = events.flatMap((event) => {
    const hints = known.has(event.id) ? null : hintsOfEvent(event)
    if (hints === null) return []
    const body = Buffer.from(JSON.stringify(event))
    return [classifyEvent(hints, owner, body, 'missed', isWanted)]
  })
  const results = await Promise.all(rows.map(async (row) => ({ row, taken: await take(row) })))
  return results.filter(({ taken }) => taken).map(({ row }) => row)
}

/** Through the same inbox as a webhook, which may have been on its way and arrived just now. */
async function ingest({ inbox, metrics }: CompareDeps, row: IncomingEvent): Promise<boolean> {
  if ((await inbox.store(row)) !== 'new') return false
  metrics.eventReceived(row.status === 'ignored' ? 'ignored' : 'stored')
  return true
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
