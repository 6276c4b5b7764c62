import { createdWithin, listOperation } from '../api/list-operation.ts'
import { text, timeRange, unsupported } from '../api/params.ts'
import { type Resource, retrieveOperation } from '../api/resource.ts'
import { balanceTransactions } from '../objects/balance-transaction.ts'

/** @see https://docs.stripe.com/api/balance_transactions */
export const balanceTransactionResource: Resource = {
  kind: balanceTransactions.name,
  expandable: {},
  operations: [
    retrieveOperation('/v1/balance_transactions/:id', balanceTransactions),
    listOperation({
      path: '/v1/balance_transactions',
      table: balanceTransactions,
      filters: {
        created: timeRange().optional(),
        currency: text().optional(),
        payout: unsupported('payouts'),
        source: text().optional(),
        type: text().optional(),
      },
      where({ created, currency, source, type }) {
        const within = createdWithin(created)
        return (movement) =>
          within(movement) &&
          (currency ?? movement.currency) === movement.currency &&
          (source ?? movement.source) === movement.source &&
          (type ?? movement.type) === movement.type
      },
    }),
  ],
}
