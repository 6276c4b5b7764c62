import { createdWithin, listOperation } from '../api/list-operation.ts'
import { text, timeRange } from '../api/params.ts'
import { type Resource, retrieveOperation } from '../api/resource.ts'
import { idOf } from '../core/reference.ts'
import { earlyFraudWarnings } from '../payments/early-fraud-warning.ts'

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
