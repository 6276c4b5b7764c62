import type Stripe from 'stripe'
import { changedAttributes } from './changed-attributes.ts'
import { fakeId } from './fake-id.ts'
import type { Scope } from './scope.ts'
import { defineTable } from './table.ts'

/** The only API version that the fake speaks; the SDK's own, which the type keeps true. */
export const API_VERSION: Stripe.LatestApiVersion = '2026-10-28.endive'

export const events = defineTable<Stripe.EventBase>('event')

/**
 * Records that something happened and hands it to the webhooks. Objects are replaced, never changed
 * in place, so the object of the event stays as it was at this moment.
 *
 * @param before the object before the change; gives `data.previous_attributes`.
 */
export function emitEvent(scope: Scope, type: Stripe.Event.Type, object: object, before?: object) {
  const { account, world, cause } = scope
  const previous = before === undefined ? undefined : changedAttributes(before, object)
  const event = account.rows(events).insert({
    id: fakeId('evt_1'),
    object: 'event',
    api_version: API_VERSION,
    created: world.clock.seconds(),
    data: previous === undefined ? { object } : { object, previous_attributes: previous },
    livemode: account.livemode,
    pending_webhooks: 0,
    request: { id: cause.requestId, idempotency_key: cause.idempotencyKey },
    type,
  })
  world.webhooks.publish(account, event)
}
