import type { EventHook } from './stripe-events/event-hook.ts'

/**
 * The hooks of this installation: add yours here. They are called in this order, before the service
 * itself works on an event; see docs/event-hooks.md.
 */
export const EVENT_HOOKS: readonly EventHook[] = []
