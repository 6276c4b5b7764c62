import type Stripe from 'stripe'
import { listOperation } from '../api/list-operation.ts'
import { group, integer, type ShapeOf, text } from '../api/params.ts'
import { existing, operation, type Resource, retrieveOperation } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { refused } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { insertTestClock, testClocks } from '../objects/test-clock.ts'
import { advanceTestClock } from '../payments/advance-test-clock.ts'
import { deleteTestClock } from '../payments/delete-test-clock.ts'

const PATH = '/v1/test_helpers/test_clocks'
const kind = testClocks.name

const createParams = group({
  customer: text().optional(),
  frozen_time: integer({ min: 0 }),
  name: text({ max: 300 }).optional(),
} satisfies ShapeOf<Stripe.TestHelpers.TestClockCreateParams>)

const advanceParams = group({
  frozen_time: integer({ min: 0 }),
} satisfies ShapeOf<Stripe.TestHelpers.TestClockAdvanceParams>)

/** @see https://docs.stripe.com/api/test_clocks */
export const testClockResource: Resource = {
  kind,
  expandable: {},
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: createParams,
      run(call, { customer, frozen_time: time, name }) {
        if (call.account.livemode)
          throw refused('Test clocks can only be used in test mode.', { code: 'testmode_only' })
        if (customer !== undefined) existing(call, customers, customer, 'customer')
        const clock = insertTestClock(call, time, name ?? null)
        if (customer !== undefined) changeRow(call, customers, customer, { test_clock: clock.id })
        emitEvent(call, 'test_helpers.test_clock.created', clock)
        return clock
      },
    }),
    retrieveOperation(`${PATH}/:id`, testClocks, 'test_clock'),
    operation({
      method: 'POST',
      path: `${PATH}/:id/advance`,
      returns: kind,
      params: advanceParams,
      run(call, { frozen_time: target }, { id = '' }) {
        existing(call, testClocks, id, 'test_clock', 404)
        return advanceTestClock(call, id, target)
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        existing(call, testClocks, id, 'test_clock', 404)
        return deleteTestClock(call, id)
      },
    }),
    listOperation({ path: PATH, table: testClocks, filters: {}, where: () => () => true }),
  ],
}
