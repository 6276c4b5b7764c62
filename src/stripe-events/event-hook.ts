import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { runWithRetry } from './claim-events.ts'

/**
 * Your own code that runs for Stripe events before the service processes them. It runs at least once
 * per event, so a second call with the same event `id` must be harmless. When it throws, both the hook
 * and the service's own work on the event are retried later. See docs/event-hooks.md.
 */
export type EventHook = {
  /** The name in the log and in `last_error` of an event on which the hook failed. */
  name: string
  /** The events that the hook gets: every given field must match. */
  on: { type?: string; model?: string; action?: string }
  run: (event: HookedEvent, tools: HookTools) => Promise<void>
}

/** A stored event, as a hook gets it. */
export type HookedEvent = {
  conferenceId: string
  id: string
  /** `customer.subscription.created` */
  type: string
  /** The part of the type before its last dot: `customer.subscription`; null without a dot. */
  model: string | null
  /** The part of the type after its last dot: `created`; null without a dot. */
  action: string | null
  /** `data.object.id`, or null when the event has none. */
  objectId: string | null
  /**
   * The event as Stripe sent it, in the API version of the endpoint. It shows a past state: fetch the
   * object from Stripe when the present state matters.
   */
  event: Stripe.Event
}

type HookTools = {
  /** The Stripe client of the event's conference. @throws AppError `stripe_key_missing` */
  stripe: () => Promise<Stripe>
  /** Tenants' rows are visible inside `withTenant` only. */
  db: Db
  logger: Logger
}

/** Splits a type at its last dot. */
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

type EventHookDeps = {
  db: Db
  clients: StripeClients
  logger: Logger
  metrics: ServiceMetrics
  eventHooks?: readonly EventHook[]
}

/** A hook threw. The message begins with the hook's name. */
class HookFailed extends Error {
  override readonly name = 'HookFailed'
}

/**
 * Calls the hooks of claimed events and records that they ran, so that later work on the event does
 * not call them again. When a hook throws, its event is retried later.
 *
 * @returns the events that may be processed now.
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
        await callHooksOnce(deps, hooks, event)
        ready.push(event)
        return 0
      })
    }
  }
  return ready
}

async function callHooksOnce(
  deps: EventHookDeps,
  hooks: readonly EventHook[],
  event: ClaimedEvent,
): Promise<void> {
  const { conferenceId, id } = event
  const row = await withTenant(deps.db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId, id })
      .first<{ body: Buffer | null; hooked_at: Date | null } | undefined>('body', 'hooked_at'),
  )
  if (!row?.body || row.hooked_at !== null) return
  // The body was validated when it was stored.
  const body = JSON.parse(row.body.toString('utf8')) as Stripe.Event
  for (const hook of hooks) await callHook(deps, hook, event, body)
  await withTenant(deps.db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId, id })
      .update({ hooked_at: trx.fn.now() }),
  )
}

async function callHook(
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
