import { createdWithin, listOperation } from '../api/list-operation.ts'
import { text, timeRange } from '../api/params.ts'
import { type Resource, retrieveOperation } from '../api/resource.ts'
import { idOf } from '../core/reference.ts'
import { setupIntents } from '../objects/setup-intent.ts'

/** Made by Checkout in setup mode only. @see https://docs.stripe.com/api/setup_intents */
export const setupIntentResource: Resource = {
  kind: setupIntents.name,
  expandable: {
    customer: { kind: 'customer' },
    payment_method: { kind: 'payment_method' },
  },
  operations: [
    retrieveOperation('/v1/setup_intents/:id', setupIntents, 'intent'),
    listOperation({
      path: '/v1/setup_intents',
      table: setupIntents,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        payment_method: text().optional(),
      },
      where({ created, customer, payment_method: method }) {
        const within = createdWithin(created)
        return (intent) =>
          within(intent) &&
          (customer ?? idOf(intent.customer)) === idOf(intent.customer) &&
          (method ?? idOf(intent.payment_method)) === idOf(intent.payment_method)
      },
    }),
  ],
}
