import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import { charges } from '../objects/charge.ts'

export const earlyFraudWarnings = defineTable<Stripe.Radar.EarlyFraudWarning>(
  'radar.early_fraud_warning',
)

/**
 * The issuer suspects fraud: a refund now may spare a dispute.
 *
 * @see https://docs.stripe.com/disputes/measuring#early-fraud-warnings
 */
export function warnOfFraud(scope: Scope, chargeId: string, fraudType: string) {
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

/** Nothing is left to be done about a charge that is refunded in full or disputed. */
export function retireFraudWarnings(scope: Scope, chargeId: string): void {
  const warnings = scope.account
    .rows(earlyFraudWarnings)
    .all((warning) => warning.actionable && idOf(warning.charge) === chargeId)
  for (const warning of warnings) {
    const retired = changeRow(scope, earlyFraudWarnings, warning.id, { actionable: false })
    emitEvent(scope, 'radar.early_fraud_warning.updated', retired, warning)
  }
}
