import type Stripe from 'stripe'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import type { Table } from '../core/table.ts'
import { cards } from '../objects/card.ts'
import { charges } from '../objects/charge.ts'
import { customers } from '../objects/customer.ts'
import { invoices } from '../objects/invoice.ts'
import { invoiceItems } from '../objects/invoice-item.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { setupIntents } from '../objects/setup-intent.ts'
import { itemsOf, subscriptionItems, subscriptions } from '../objects/subscription.ts'
import { testClocks } from '../objects/test-clock.ts'
import { deleteCustomer } from './delete-customer.ts'

type CustomersRow = { id: string; customer?: string | { id: string } | null }

/**
 * Ends a test clock. Its customers are deleted and whatever belonged to them is gone from the API.
 *
 * @see https://docs.stripe.com/api/test_clocks/delete
 */
export function deleteTestClock(scope: Scope, id: string): Stripe.TestHelpers.DeletedTestClock {
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
    forget(scope, customer.id, cards)
    forget(scope, customer.id, charges)
    forget(scope, customer.id, invoiceItems)
    forget(scope, customer.id, invoices)
    forget(scope, customer.id, paymentIntents)
    forget(scope, customer.id, setupIntents)
    forget(scope, customer.id, subscriptions)
  }
  account.rows(testClocks).remove(id)
  emitEvent(scope, 'test_helpers.test_clock.deleted', clock)
  return { id, object: 'test_helpers.test_clock', deleted: true }
}

function forget<T extends CustomersRow>({ account }: Scope, customer: string, table: Table<T>) {
  const rows = account.rows(table)
  for (const row of rows.all((candidate) => idOf(candidate.customer) === customer))
    rows.remove(row.id)
}
