import type Stripe from 'stripe'
import { idOf } from '../../stripe/stripe-objects.ts'
import { bigint, json, numeric, reference, text, timestamp } from '../mirror-column.ts'
import type { StripeResource, SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as charges } from './charge-resource.ts'
import { resource as disputes } from './dispute-resource.ts'
import { resource as refunds } from './refund-resource.ts'

/** A transaction does not say of which kind its source is. Each resource ignores ids of other kinds. */
function sourcesOf({ source }: Stripe.BalanceTransaction) {
  const id = idOf(source)
  const dispute = id !== null && /^d[pu]_/.test(id) ? id : null
  return [[charges, id] as const, [refunds, id] as const, [disputes, dispute] as const]
}

/** @see https://docs.stripe.com/api/balance_transactions/object */
export const resource: StripeResource<Stripe.BalanceTransaction> = {
  name: 'balance-transactions',
  description: 'An entry of the Stripe balance, with its fee.',
  objects: ['balance_transaction'],
  idPrefixes: ['txn_'],
  columns: {
    type: text((transaction) => transaction.type),
    reporting_category: text((transaction) => transaction.reporting_category),
    status: text((transaction) => transaction.status),
    // Amounts are in the currency of the balance, which can differ from the customer's currency.
    amount: bigint((transaction) => transaction.amount),
    fee: bigint((transaction) => transaction.fee),
    net: bigint((transaction) => transaction.net),
    currency: text((transaction) => transaction.currency),
    exchange_rate: numeric((transaction) => transaction.exchange_rate),
    available_on: timestamp((transaction) => transaction.available_on, { indexed: true }),
    // A charge, refund, payout, dispute or one of about ten other kinds.
    source: reference((transaction) => transaction.source),
    balance_type: text((transaction) => transaction.balance_type),
    description: text((transaction) => transaction.description),
    fee_details: json((transaction) => transaction.fee_details),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.balanceTransactions.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.balanceTransactions.retrieve(id),
  belongsTo: sourcesOf,
  createAction: (context) => new StripeBalanceTransactionAction(context),
}

/** Mirrors the entries of the Stripe balance. */
export class StripeBalanceTransactionAction extends StripeSyncAction<Stripe.BalanceTransaction> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
