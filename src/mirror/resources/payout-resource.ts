import type Stripe from 'stripe'
import { bigint, boolean, reference, text, timestamp } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as balanceTransactions } from './balance-transaction-resource.ts'

/** @see https://docs.stripe.com/api/payouts/object */
export const resource: StripeResource<Stripe.Payout> = {
  name: 'payouts',
  description: 'A transfer of money from the Stripe balance to a bank account.',
  objects: ['payout'],
  // Before 2017, payouts were transfers.
  idPrefixes: ['po_', 'tr_'],
  columns: {
    status: text((payout) => payout.status),
    type: text((payout) => payout.type),
    method: text((payout) => payout.method),
    automatic: boolean((payout) => payout.automatic),
    amount: bigint((payout) => payout.amount),
    currency: text((payout) => payout.currency),
    arrival_date: timestamp((payout) => payout.arrival_date, { indexed: true }),
    balance_transaction: reference((payout) => payout.balance_transaction),
    destination: reference((payout) => payout.destination),
    source_type: text((payout) => payout.source_type),
    reconciliation_status: text((payout) => payout.reconciliation_status),
    trace_id: text((payout) => payout.trace_id?.value),
    failure_code: text((payout) => payout.failure_code),
    failure_message: text((payout) => payout.failure_message),
    failure_balance_transaction: reference((payout) => payout.failure_balance_transaction),
    original_payout: reference((payout) => payout.original_payout),
    reversed_by: reference((payout) => payout.reversed_by),
    description: text((payout) => payout.description),
    statement_descriptor: text((payout) => payout.statement_descriptor),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.payouts.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.payouts.retrieve(id),
  references: (payout) =>
    referencesTo([
      balanceTransactions,
      [payout.balance_transaction, payout.failure_balance_transaction],
    ]),
  createAction: (context) => new StripePayoutAction(context),
}

/** Mirrors payouts. */
export class StripePayoutAction extends StripeSyncAction<Stripe.Payout> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
