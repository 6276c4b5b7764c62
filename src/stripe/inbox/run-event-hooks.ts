import type Stripe from 'stripe'
import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import type { StripeClients } from '../client.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { errorText } from './error-text.ts'
import { type EventHook, hooksFor, modelAndAction } from './event-hook.ts'
import { tryEvents } from './try-events.ts'

export type EventHookDeps = {
  db: Db
  clients: StripeClients
  logger: Logger
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
}

/** A hook threw; its name leads. */
class HookFailed extends Error {
  override readonly name = 'HookFailed'
}

/**
 * Calls the hooks of claimed events, and notes when they are through, so that they are not called
 * again for what else happens to an event. One that throws is written on its event, which waits for
 * another try.
 *
 * @returns the events that may be worked on now.
 */
export async function runEventHooks(
  deps: EventHookDeps,
  events: readonly ClaimedEvent[],
): Promise<ClaimedEvent[]> {
  const ready: ClaimedEvent[] = []
  for (const event of events) {
    const hooks = hooksFor(deps.eventHooks ?? [], event.type)
    if (hooks.length === 0) ready.push(event)
    else {
      await tryEvents(deps, [event], async () => {
        await callOnce(deps, hooks, event)
        ready.push(event)
        return 0
      })
    }
  }
  return ready
}

async function callOnce(
  deps: EventHookDeps,
  hooks: readonly EventHook[],
  event: ClaimedEvent,
): Promise<void> {
  const { conferenceId, id } = event
  const row = await withTenant(deps.db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId, id })
      .first<{ body: Buffer; hooked_at: Date | null } | undefined>('body', 'hooked_at'),
  )
  if (row === undefined || row.hooked_at !== null) return
  // Its shape was looked at when it was stored.
  const body = JSON.parse(row.body.toString('utf8')) as Stripe.Event
  for (const hook of hooks) await call(deps, hook, event, body)
  await withTenant(deps.db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId, id })
      .update({ hooked_at: trx.fn.now() }),
  )
}

async function call(
  { db, clients, logger }: EventHookDeps,
  hook: EventHook,
  { conferenceId, id, type, objectId }: ClaimedEvent,
  event: Stripe.Event,
): Promise<void> {
  const tools = { db, logger, stripe: () => clients.forConference(conferenceId) }
  try {
    await hook.run({ conferenceId, id, type, ...modelAndAction(type), objectId, event }, tools)
  } catch (error) {
    throw new HookFailed(`${hook.name}: ${errorText(error)}`, { cause: error })
  }
}
