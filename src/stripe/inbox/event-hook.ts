import type Stripe from 'stripe'
import type { Db } from '../../db/connect.ts'
import type { Logger } from '../../shared/logger.ts'

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
