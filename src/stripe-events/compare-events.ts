import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { callStripe } from '../stripe/stripe-errors.ts'
import {
  classifyEvent,
  type EventOwner,
  hintsOfEvent,
  type IncomingEvent,
} from './classify-event.ts'
import { type EventHook, hooksFor } from './event-hook.ts'
import type { EventInbox } from './event-inbox.ts'
import { findStoredEventIds } from './event-inbox.ts'

const PAGE_SIZE = 100

export type CompareDeps = {
  db: Db
  inbox: EventInbox
  metrics: ServiceMetrics
  eventHooks?: readonly EventHook[]
  /** Runs before each request. An error ends the comparison. */
  beforePage: () => Promise<void>
}

export type Comparison = {
  /** Number of events that Stripe listed. */
  listed: number
  /** Ids that were not stored here and must be processed: they should have come by webhook. */
  missing: string[]
  /** Ids that were not stored here and need no work: types without use, or other conferences. */
  ignored: string[]
}

/**
 * Compares one of Stripe's lists of events with our table, page by page, by event id.
 *
 * @param store - false: missing events are counted but not stored.
 * @throws AppError `stripe_…`; the events of earlier pages stay stored.
 */
export async function compareEvents(
  deps: CompareDeps,
  stripe: Stripe,
  owner: EventOwner,
  list: Stripe.EventListParams,
  store = true,
): Promise<Comparison> {
  const found: Comparison = { listed: 0, missing: [], ignored: [] }
  let after: string | undefined
  for (;;) {
    await deps.beforePage()
    const page = await callStripe(() =>
      stripe.events.list({
        ...list,
        limit: PAGE_SIZE,
        ...(after === undefined ? {} : { starting_after: after }),
      }),
    )
    found.listed += page.data.length
    const missing = await findMissing(deps, owner, page.data)
    const added = store ? await storeEvents(deps, missing) : missing
    for (const { id, status } of added) {
      found[status === 'pending' ? 'missing' : 'ignored'].push(id)
    }
    after = page.data.at(-1)?.id
    if (!page.has_more || after === undefined) return found
  }
}

async function findMissing(
  { db, eventHooks = [] }: Pick<CompareDeps, 'db' | 'eventHooks'>,
  owner: EventOwner,
  events: Stripe.Event[],
): Promise<IncomingEvent[]> {
  const ids = events.map(({ id }) => id)
  const stored = await findStoredEventIds(db, owner.id, ids)
  const isWanted = (type: string) => hooksFor(eventHooks, type).length > 0
  return events.flatMap((event) => {
    const hints = stored.has(event.id) ? null : hintsOfEvent(event)
    if (hints === null) return []
    const body = Buffer.from(JSON.stringify(event))
    return [classifyEvent(hints, owner, body, 'missed', isWanted)]
  })
}

/** Returns the events that were new: a late webhook may store one of them at the same time. */
async function storeEvents(
  { inbox, metrics }: CompareDeps,
  events: IncomingEvent[],
): Promise<IncomingEvent[]> {
  const results = await Promise.all(
    events.map(async (event) => ({ event, result: await inbox.store(event) })),
  )
  const added = results.flatMap(({ event, result }) => (result === 'new' ? [event] : []))
  for (const { status } of added) {
    metrics.eventReceived(status === 'ignored' ? 'ignored' : 'stored')
  }
  return added
}
