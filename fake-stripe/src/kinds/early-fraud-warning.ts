import type Stripe from 'stripe'
import {
  createdWithin,
  listOperation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { text, timeRange } from '../api/params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { charges } from './charge.ts'

const earlyFraudWarnings = defineTable<Stripe.Radar.EarlyFraudWarning>('radar.early_fraud_warning')

/**
 * The issuer suspects fraud; a refund can prevent a dispute.
 *
 * @see https://docs.stripe.com/disputes/measuring#early-fraud-warnings
 */
export function createFraudWarning(scope: Scope, chargeId: string, fraudType: string) {
  const charge = requireRow(scope, charges, chargeId)
  const intent = idOf(charge.payment_intent)
  const warning = scope.account.rows(earlyFraudWarnings).insert({
    id: fakeId('issfr_1'),
    object: 'radar.early_fraud_warning',
    actionable: !charge.refunded && !charge.disputed,
    charge: charge.id,
    created: scope.world.clock.seconds(),
    fraud_type: fraudType,
    livemode: scope.account.livemode,
    ...(intent === null ? {} : { payment_intent: intent }),
  })
  emitEvent(scope, 'radar.early_fraud_warning.created', warning)
  return warning
}

/** A warning is not actionable any more when its charge is fully refunded or disputed. */
export function retireFraudWarnings(scope: Scope, chargeId: string): void {
  const warnings = scope.account
    .rows(earlyFraudWarnings)
    .all((warning) => warning.actionable && idOf(warning.charge) === chargeId)
  for (const warning of warnings) {
    const retired = changeRow(scope, earlyFraudWarnings, warning.id, { actionable: false })
    emitEvent(scope, 'radar.early_fraud_warning.updated', retired, warning)
  }
}

/** @see https://docs.stripe.com/api/radar/early_fraud_warnings */
export const earlyFraudWarningResource: Resource = {
  kind: earlyFraudWarnings.name,
  expandable: {
    charge: { kind: 'charge' },
    payment_intent: { kind: 'payment_intent' },
  },
  operations: [
    retrieveOperation(
      '/v1/radar/early_fraud_warnings/:id',
      earlyFraudWarnings,
      'early_fraud_warning',
    ),
    listOperation({
      path: '/v1/radar/early_fraud_warnings',
      table: earlyFraudWarnings,
      filters: {
        charge: text().optional(),
        created: timeRange().optional(),
        payment_intent: text().optional(),
      },
      where({ charge, created, payment_intent: intent }) {
        const within = createdWithin(created)
        return (warning) =>
          within(warning) &&
          (charge ?? idOf(warning.charge)) === idOf(warning.charge) &&
          (intent ?? idOf(warning.payment_intent)) === idOf(warning.payment_intent)
      },
    }),
  ],
}
