import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  choice,
  currency,
  group,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import type { Account } from '../core/accounts.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { InvalidState, refused } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { balanceTransactions, recordMovement } from './balance-transaction.ts'

export const payouts = defineTable<Stripe.Payout>('payout')

/** The automatic payout that contains a balance transaction, under the transaction's id. */
export const paidMovements = defineTable<{ id: string; payout: string }>(
  'balance_transaction.payout',
  { hidden: true },
)

type PayoutFields = Pick<Stripe.Payout, 'amount' | 'currency'> &
  Partial<Omit<Stripe.Payout, 'object' | 'livemode'>>

const DAY_SECONDS = 24 * 60 * 60

/** Builds a pending payout that arrives on the second day from now. */
function buildPayout({ account, world }: Scope, fields: PayoutFields): Stripe.Payout {
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

/** The only bank account of an account; its id is the same in every process, like the account's. */
function bankAccount({ id }: Account): string {
  return `ba_${id.slice('acct_'.length)}`
}

const PATH = '/v1/payouts'
const kind = payouts.name

const createParams = group({
  amount: amount('positive'),
  currency: currency(),
  description: text().optional(),
  destination: text().optional(),
  metadata: metadataParam().optional(),
  method: choice('method', ['instant', 'standard']).optional(),
  payout_method: unsupported('financial accounts'),
  source_type: choice('source_type', ['bank_account', 'card', 'fpx']).optional(),
  statement_descriptor: text({ max: 22 }).optional(),
} satisfies ShapeOf<Stripe.PayoutCreateParams>)

const filters = {
  arrival_date: timeRange().optional(),
  created: timeRange().optional(),
  destination: text().optional(),
  status: choice('status', ['canceled', 'failed', 'in_transit', 'paid', 'pending']).optional(),
} satisfies FiltersOf<Stripe.PayoutListParams>

/** @see https://docs.stripe.com/api/payouts */
export const payoutResource: Resource = {
  kind,
  expandable: {
    balance_transaction: { kind: 'balance_transaction' },
    failure_balance_transaction: { kind: 'balance_transaction' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: createParams,
      run: (call, params) => createPayout(call, fieldsOf(params)),
    }),
    retrieveOperation(`${PATH}/:id`, payouts, 'payout'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({
        metadata: metadataParam().optional(),
      } satisfies ShapeOf<Stripe.PayoutUpdateParams>),
      run(call, { metadata }, { id = '' }) {
        const before = existing(call, payouts, id, 'payout', 404)
        const merged = changeMetadata(before.metadata ?? {}, metadata)
        const after = changeRow(call, payouts, id, { metadata: merged })
        emitEvent(call, 'payout.updated', after, before)
        return after
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/cancel`,
      returns: kind,
      params: group({}),
      run: (call, _params, { id = '' }) => cancelPayout(call, cancelable(call, id)),
    }),
    listOperation({
      path: PATH,
      table: payouts,
      filters,
      where({ arrival_date: arrival, created, destination, status }) {
        const within = createdWithin(created)
        const arrives = createdWithin(arrival)
        return (payout) =>
          within(payout) &&
          arrives({ created: payout.arrival_date }) &&
          (destination ?? idOf(payout.destination)) === idOf(payout.destination) &&
          (status ?? payout.status) === payout.status
      },
    }),
  ],
}

function fieldsOf(params: z.output<typeof createParams>) {
  const { destination } = params
  return {
    amount: params.amount,
    currency: params.currency,
    description: params.description ?? null,
    metadata: changeMetadata({}, params.metadata),
    method: params.method ?? 'standard',
    source_type: params.source_type ?? 'card',
    statement_descriptor: params.statement_descriptor ?? null,
    ...(destination === undefined ? {} : { destination }),
    type: destination?.startsWith('card_') ? 'card' : 'bank_account',
  }
}

function cancelable(call: Call, id: string): Stripe.Payout {
  const payout = existing(call, payouts, id, 'payout', 404)
  if (payout.automatic) throw refused('Automatic payouts cannot be canceled.')
  if (payout.status === 'pending') return payout
  throw refused(
    `Payouts can only be canceled while they are pending; this one has a status of ${payout.status}.`,
  )
}

/**
 * Stores a new payout with its balance transaction. At Stripe the balance must be sufficient; here
 * it can be negative, so that a test does not need a sale first.
 */
function createPayout(scope: Scope, fields: PayoutFields): Stripe.Payout {
  const payout = buildPayout(scope, fields)
  const movement = recordMovement(scope, {
    amount: -payout.amount,
    currency: payout.currency,
    source: payout.id,
    type: 'payout',
    reportingCategory: 'payout',
    description: payout.description,
  })
  const booked = scope.account.rows(payouts).insert({ ...payout, balance_transaction: movement.id })
  emitEvent(scope, 'payout.created', booked)
  return booked
}

/**
 * Pays out all money in a currency that no earlier payout contains, as Stripe's payout schedule
 * does. The money of a payout that failed, and what manual payouts took, is part of the next one.
 *
 * @throws InvalidState when there is none, or the balance is negative.
 */
export function payOutBalance(scope: Scope, currency: string): Stripe.Payout {
  const { account } = scope
  const taken = account.rows(paidMovements)
  const open = account
    .rows(balanceTransactions)
    .all(({ id, currency: code }) => code === currency && taken.get(id) === undefined)
  const amount = open.reduce((sum, { net }) => sum + net, 0)
  if (amount <= 0) throw new InvalidState(`There is nothing to pay out in ${currency}`)
  const payout = createPayout(scope, {
    amount,
    currency,
    automatic: true,
    description: 'STRIPE PAYOUT',
    reconciliation_status: 'completed',
    status: 'in_transit',
  })
  for (const { id } of open) {
    changeRow(scope, balanceTransactions, id, { status: 'available' })
    taken.insert({ id, payout: payout.id })
  }
  // Stripe's list of a payout's transactions also contains the payout's own.
  if (typeof payout.balance_transaction === 'string')
    taken.insert({ id: payout.balance_transaction, payout: payout.id })
  return payout
}

/** The payout arrived. @throws InvalidState when the payout has ended already. */
export function settlePayout(scope: Scope, id: string): Stripe.Payout {
  const before = requirePayoutStatus(scope, id, ['pending', 'in_transit'])
  const after = changeRow(scope, payouts, id, {
    status: 'paid',
    trace_id: { status: 'supported', value: `FAKE${id.slice(-12).toUpperCase()}` },
  })
  emitEvent(scope, 'payout.paid', after, before)
  return after
}

/**
 * The bank returned the payout, also long after it had arrived.
 *
 * @param code such as `account_closed`. @see https://docs.stripe.com/api/payouts/failures
 * @throws InvalidState when the payout failed already or was canceled.
 */
export function failPayout(scope: Scope, id: string, code: string): Stripe.Payout {
  const before = requirePayoutStatus(scope, id, ['pending', 'in_transit', 'paid'])
  const after = changeRow(scope, payouts, id, {
    status: 'failed',
    failure_balance_transaction: reversePayout(scope, before, 'payout_failure'),
    failure_code: code,
    failure_message: `The bank returned the payout (${code}).`,
    trace_id: { status: 'unsupported', value: null },
  })
  emitEvent(scope, 'payout.failed', after, before)
  return after
}

/** Cancels a manual payout that is pending. */
function cancelPayout(scope: Scope, before: Stripe.Payout): Stripe.Payout {
  const after = changeRow(scope, payouts, before.id, {
    status: 'canceled',
    failure_balance_transaction: reversePayout(scope, before, 'payout_cancel'),
    trace_id: { status: 'unsupported', value: null },
  })
  emitEvent(scope, 'payout.canceled', after, before)
  return after
}

function requirePayoutStatus(scope: Scope, id: string, allowed: string[]): Stripe.Payout {
  const payout = requireRow(scope, payouts, id)
  if (allowed.includes(payout.status)) return payout
  throw new InvalidState(`Payout ${id} is ${payout.status}`)
}

function reversePayout(
  scope: Scope,
  { id, amount, currency }: Stripe.Payout,
  type: 'payout_cancel' | 'payout_failure',
): string {
  return recordMovement(scope, {
    amount,
    currency,
    source: id,
    type,
    reportingCategory: 'payout_reversal',
    description: null,
  }).id
}
