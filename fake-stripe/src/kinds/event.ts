import type Stripe from 'stripe'
import {
  createdWithin,
  listOperation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { flag, list, type ShapeOf, text, timeRange } from '../api/params.ts'
import { events } from '../core/changes.ts'
import { invalidParameter } from '../core/errors.ts'
import { matchesType } from '../webhooks/webhook-faults.ts'

const RETENTION_SECONDS = 30 * 24 * 60 * 60

const filters = {
  created: timeRange().optional(),
  delivery_success: flag().optional(),
  type: text().optional(),
  types: list(text(), { max: 20 }).optional(),
} satisfies Omit<ShapeOf<Stripe.EventListParams>, 'limit' | 'starting_after' | 'ending_before'>

/** @see https://docs.stripe.com/api/events */
export const eventResource: Resource = {
  kind: events.name,
  expandable: {},
  operations: [
    retrieveOperation('/v1/events/:id', events),
    listOperation({
      path: '/v1/events',
      table: events,
      filters,
      where({ created, delivery_success: success, type, types }, call) {
        if (type !== undefined && types !== undefined)
          throw invalidParameter(
            'types',
            'You may only specify one of these parameters: type, types.',
            'parameters_exclusive',
          )
        const within = createdWithin(created)
        const oldest = call.world.clock.seconds() - RETENTION_SECONDS
        const wanted = types ?? (type === undefined ? undefined : [type])
        return (event) =>
          event.created >= oldest &&
          within(event) &&
          matchesType(wanted, event.type) &&
          (success === undefined || success === (event.pending_webhooks === 0))
      },
    }),
  ],
}
