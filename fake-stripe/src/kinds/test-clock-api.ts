import type Stripe from 'stripe'
import {
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { group, integer, type ShapeOf, text } from '../api/params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { periodEnd } from '../core/clock.ts'
import { invalidParameter, refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Table } from '../core/rows.ts'
import { NO_REQUEST, type Scope } from '../core/scope.ts'
import { charges } from './charge.ts'
import { customers } from './customer.ts'
import { deleteCustomer } from './customer-api.ts'
import { invoiceItems, invoices } from './invoice.ts'
import { paymentIntents } from './payment-intent.ts'
import { paymentMethods } from './payment-method.ts'
import { cards } from './saved-payment-method.ts'
import { setupIntents } from './setup-intent.ts'
import { itemsOf, subscriptionItems, subscriptions } from './subscription.ts'
import { ENDED } from './subscription-billing.ts'
import { insertTestClock, runUntil, testClocks } from './test-clock.ts'

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

const TWO_YEARS = 2 * 366 * 24 * 60 * 60
const YEARLY = { interval: 'year', interval_count: 1 }

/**
 * Advances a test clock. The response has the status `advancing`, as at Stripe, where it takes a
 * while; here everything has happened when the caller reads the clock again.
 *
 * @param target seconds since 1970.
 * @throws StripeError when the target is not later, or is more than two intervals of the shortest
 *   subscription ahead (without subscriptions: two years).
 * @see https://docs.stripe.com/api/test_clocks/advance
 */
function advanceTestClock(scope: Scope, id: string, target: number): Stripe.TestHelpers.TestClock {
  const before = requireRow(scope, testClocks, id)
  if (target <= before.frozen_time)
    throw invalidParameter(
      'frozen_time',
      `The frozen_time must be after the test clock's current frozen time (${before.frozen_time}).`,
    )
  const furthest = furthestTime(scope, before)
  if (target > furthest)
    throw invalidParameter(
      'frozen_time',
      `The frozen_time cannot be more than two intervals of the shortest subscription, or two years without one, in the future (${furthest}).`,
    )
  const advancing = changeRow(scope, testClocks, id, {
    status: 'advancing',
    status_details: { advancing: { target_frozen_time: target } },
  })
  emitEvent(scope, 'test_helpers.test_clock.advancing', advancing, before)
  runUntil(scope, id, target)
  const ready = changeRow(scope, testClocks, id, { status: 'ready', status_details: {} })
  emitEvent({ ...scope, cause: NO_REQUEST }, 'test_helpers.test_clock.ready', ready, advancing)
  return advancing
}

function furthestTime(scope: Scope, clock: Stripe.TestHelpers.TestClock): number {
  const now = clock.frozen_time
  const running = scope.account
    .rows(subscriptions)
    .all((row) => idOf(row.test_clock) === clock.id && !ENDED.includes(row.status))
  const items = running.flatMap(({ id }) => itemsOf(scope, id))
  const limits = items.map(({ price }) => periodEnd(now, price.recurring ?? YEARLY, 2))
  return Math.min(...limits, now + TWO_YEARS)
}

type CustomersRow = { id: string; customer?: string | { id: string } | null }

/**
 * Deletes a test clock, its customers and everything that belongs to them.
 *
 * @see https://docs.stripe.com/api/test_clocks/delete
 */
function deleteTestClock(scope: Scope, id: string): Stripe.TestHelpers.DeletedTestClock {
  const { account } = scope
  const clock = requireRow(scope, testClocks, id)
  for (const customer of account.rows(customers).all((row) => idOf(row.test_clock) === id)) {
    const methods = account.rows(paymentMethods).all((row) => idOf(row.customer) === customer.id)
    deleteCustomer(scope, customer.id)
    for (const method of methods) account.rows(paymentMethods).remove(method.id)
    for (const { id: subscription } of account
      .rows(subscriptions)
      .all((row) => idOf(row.customer) === customer.id))
      for (const item of itemsOf(scope, subscription))
        account.rows(subscriptionItems).remove(item.id)
    removeRows(scope, customer.id, cards)
    removeRows(scope, customer.id, charges)
    removeRows(scope, customer.id, invoiceItems)
    removeRows(scope, customer.id, invoices)
    removeRows(scope, customer.id, paymentIntents)
    removeRows(scope, customer.id, setupIntents)
    removeRows(scope, customer.id, subscriptions)
  }
  account.rows(testClocks).remove(id)
  emitEvent(scope, 'test_helpers.test_clock.deleted', clock)
  return { id, object: 'test_helpers.test_clock', deleted: true }
}

function removeRows<T extends CustomersRow>({ account }: Scope, customer: string, table: Table<T>) {
  const rows = account.rows(table)
  for (const row of rows.all((candidate) => idOf(candidate.customer) === customer))
    rows.remove(row.id)
}
