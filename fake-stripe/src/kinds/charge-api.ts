import type Stripe from 'stripe'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  createdWithin,
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { choice, email, group, ignored, type ShapeOf, text, timeRange } from '../api/params.ts'
import { changeRow, emitEvent, givenFields } from '../core/changes.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { charges } from './charge.ts'
import { refunds } from './refund.ts'

const updateParams = group({
  customer: text().optional(),
  description: text({ max: 1000 }).optional(),
  fraud_details: group({ user_report: choice('user_report', ['fraudulent', 'safe']) }).optional(),
  metadata: metadataParam().optional(),
  receipt_email: email().optional(),
  shipping: ignored(),
  transfer_group: text().optional(),
} satisfies ShapeOf<Stripe.ChargeUpdateParams>)

/** @see https://docs.stripe.com/api/charges */
export const chargeResource: Resource = {
  kind: charges.name,
  expandable: {
    balance_transaction: { kind: 'balance_transaction' },
    customer: { kind: 'customer' },
    payment_intent: { kind: 'payment_intent' },
    // Left out of a charge since API version 2022-11-15 unless asked for.
    refunds: { kind: 'refund', list: true, load: newestRefunds },
  },
  operations: [
    retrieveOperation('/v1/charges/:id', charges, 'charge'),
    operation({
      method: 'POST',
      path: '/v1/charges/:id',
      returns: charges.name,
      params: updateParams,
      run(call, { metadata, fraud_details: fraud, ...params }, { id = '' }) {
        const { customer, description, receipt_email, transfer_group } = params
        const before = existing(call, charges, id, 'charge', 404)
        const after = changeRow(call, charges, id, {
          ...givenFields({ customer, description, receipt_email, transfer_group }),
          metadata: changeMetadata(before.metadata, metadata),
          ...(fraud === undefined ? {} : { fraud_details: fraud }),
        })
        emitEvent(call, 'charge.updated', after, before)
        return after
      },
    }),
    listOperation({
      path: '/v1/charges',
      table: charges,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        payment_intent: text().optional(),
        transfer_group: text().optional(),
      },
      where({ created, customer, payment_intent: intent, transfer_group: group }) {
        const within = createdWithin(created)
        return (charge) =>
          within(charge) &&
          (customer ?? idOf(charge.customer)) === idOf(charge.customer) &&
          (intent ?? idOf(charge.payment_intent)) === idOf(charge.payment_intent) &&
          (group ?? charge.transfer_group) === charge.transfer_group
      },
    }),
  ],
}

/** At most ten, as Stripe embeds them; the rest must be listed. */
function newestRefunds({ account }: Scope, chargeId: string) {
  const page = account.rows(refunds).page({
    limit: 10,
    where: (refund) => idOf(refund.charge) === chargeId,
  })
  return {
    object: 'list',
    data: page?.data ?? [],
    has_more: page?.hasMore ?? false,
    url: `/v1/charges/${chargeId}/refunds`,
  }
}
