import type { EventHook } from './stripe-events/event-hook.ts'

/**
 * The hooks of this installation: add yours here. The service calls them in this order before it
 * handles an event itself; see docs/event-hooks.md.
 */
export const EVENT_HOOKS: readonly EventHook[] = []
