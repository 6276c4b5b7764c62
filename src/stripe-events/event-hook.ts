import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { errorText } from '../stripe/error-text.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { runWithRetry } from './retry-events.ts'

/** A stored event as a hook sees it. */
export type HookedEvent = {
  conferenceId: string
  id: string
  /** `customer.subscription.created` */
  type: string
  /** Everything before the type's last point: `customer.subscription`; null when there is none. */
  model: string | null
  /** What comes after it: `created`; null when there is none. */
  action: string | null
  /** `data.object.id`, where there is one. */
  objectId: string | null
  /**
   * The event as Stripe sent it, in the API version of the endpoint. It says what was true when it
   * was made: read the object where it matters what is true now.
   */
  event: Stripe.Event
}

export type HookTools = {
  /** Stripe as the event's conference. @throws AppError `stripe_key_missing` */
  stripe: () => Promise<Stripe>
  /** Tenants' rows are seen inside `withTenant` only. */
  db: Db
  logger: Logger
}

/**
 * Code that is told of Stripe's events before the service works on them. It is told at least once of
 * each: it must bear a second call for the same `id`. Throwing means "again later", for the hook and
 * for what the service does about the event.
 */
export type EventHook = {
  /** Names it in the log and in `last_error` of an event that it failed on. */
  name: string
  /** Which events: all that is given must fit. */
  on: { type?: string; model?: string; action?: string }
  run: (event: HookedEvent, tools: HookTools) => Promise<void>
}

/** Splits a type at its last point. */
export function modelAndAction(type: string): Pick<HookedEvent, 'model' | 'action'> {
  const at = type.lastIndexOf('.')
  if (at === -1) return { model: null, action: null }
  return { model: type.slice(0, at), action: type.slice(at + 1) }
}

/** The hooks that want events of a type, in their order. */
export function hooksFor(hooks: readonly EventHook[], type: string): EventHook[] {
  const { model, action } = modelAndAction(type)
  return hooks.filter(
    ({ on }) =>
      (on.type === undefined || on.type === type) &&
      (on.model === undefined || on.model === model) &&
      (on.action === undefined || on.action === action),
  )
}

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
      await runWithRetry(deps, [event], async () => {
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
