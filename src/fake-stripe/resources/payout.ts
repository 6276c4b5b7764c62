import type Stripe from 'stripe'
import type { z } from 'zod'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata, metadataParam } from '../api/metadata.ts'
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
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { refused } from '../core/stripe-error.ts'
import { payouts } from '../objects/payout.ts'
import { cancelPayout } from '../payouts/end-payout.ts'
import { createPayout } from '../payouts/pay-out.ts'

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
