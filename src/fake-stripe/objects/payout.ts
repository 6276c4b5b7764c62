import type Stripe from 'stripe'
import type { Account } from '../core/account.ts'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

export const payouts = defineTable<Stripe.Payout>('payout')

/** By which automatic payout a balance transaction left, under the transaction's id. */
export const paidMovements = defineTable<{ id: string; payout: string }>(
  'balance_transaction.payout',
  { hidden: true },
)

export type PayoutFields = Pick<Stripe.Payout, 'amount' | 'currency'> &
  Partial<Omit<Stripe.Payout, 'object' | 'livemode'>>

const DAY_SECONDS = 24 * 60 * 60

/** A pending payout that is not stored yet; it arrives on the second day from now. */
export function buildPayout({ account, world }: Scope, fields: PayoutFields): Stripe.Payout {
  const created = world.clock.seconds()
  const destination = fields.destination ?? bankAccount(account)
  return {
    id: fakeId('po_1'),
    object: 'payout',
    application_fee: null,
    application_fee_amount: null,
    arrival_date: created - (created % DAY_SECONDS) + 2 * DAY_SECONDS,
    automatic: false,
    balance_transaction: null,
    created,
    description: null,
    destination,
    failure_balance_transaction: null,
    failure_code: null,
    failure_message: null,
    livemode: account.livemode,
    metadata: {},
    method: 'standard',
    original_payout: null,
    payout_method: null,
    reconciliation_status: 'not_applicable',
    reversed_by: null,
    source_type: 'card',
    statement_descriptor: null,
    status: 'pending',
    trace_id: { status: 'pending', value: null },
    type: 'bank_account',
    ...fields,
  }
}

/** The one bank account of an account; the same in every process, as the account's id is. */
function bankAccount({ id }: Account): string {
  return `ba_${id.slice('acct_'.length)}`
}
