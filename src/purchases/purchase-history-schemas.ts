import { z } from 'zod'
import { pageOf } from '../http/common-schemas.ts'
import { ATTEMPT_STATES } from '../payments/attempt-machine.ts'
import { timestamp } from '../shared/time.ts'
import { PURCHASE_STATUSES } from './purchase-machine.ts'
import { actorName, staffNote } from './purchase-schemas.ts'

export const transitionSchema = z
  .object({
    id: z.string(),
    object: z.literal('purchase_transition'),
    from: z.enum(PURCHASE_STATUSES),
    to: z.enum(PURCHASE_STATUSES),
    event: z.string(),
    code: z.string().nullable().meta({
      description:
        "The reason: the failure's code, the flag's code, or Stripe's reason of a refund or dispute.",
    }),
    amount: z.int().nullable().meta({
      description: "Minor units of the purchase's currency. Null: no money, or another currency.",
    }),
    note: z.string().nullable().meta({ description: 'What staff wrote. Sponsors do not see it.' }),
    cause: z.string(),
    actor: z.object({
      kind: z.string(),
      id: z.string(),
      name: actorName,
    }),
    created_at: timestamp,
  })
  .meta({ id: 'PurchaseTransition' })

export const transitionPage = pageOf(transitionSchema).meta({ id: 'PurchaseTransitionPage' })

export const noteBody = z.strictObject({ note: staffNote }).meta({ id: 'CreatePurchaseNote' })

const failure = z.object({ code: z.string(), message: z.string() }).nullable()

const attempt = z
  .object({
    attempt: z.int(),
    kind: z.enum(['checkout', 'saved_card']),
    state: z.enum(ATTEMPT_STATES),
    session_id: z.string().nullable(),
    payment_intent: z.string().nullable(),
    expires_at: timestamp.nullable(),
    failure,
    created_at: timestamp,
  })
  .meta({ id: 'PaymentAttempt', description: 'One way to pay that was opened.' })

const payment = z
  .object({
    id: z.string().meta({ description: 'A payment intent (pi_…) or the recorded payment (rp_…).' }),
    kind: z.enum(['stripe', 'recorded']),
    status: z.string().meta({ description: "Stripe's status; `succeeded` if it was recorded." }),
    attempt: z.int().nullable(),
    amount_received: z.int(),
    amount_refunded: z.int(),
    amount_refundable: z.int().meta({ description: 'What a new refund may take at most.' }),
    amount_lost: z.int().meta({ description: 'By lost disputes.' }),
    currency: z.string(),
    disputed: z.boolean(),
  })
  .meta({ id: 'PurchasePayment' })

const refund = z
  .object({
    id: z
      .string()
      .nullable()
      .meta({ description: 'Null: Stripe has no refund for the request yet.' }),
    payment: z.string(),
    status: z
      .enum([
        'requested',
        'refused',
        'pending',
        'requires_action',
        'succeeded',
        'failed',
        'canceled',
      ])
      .meta({ description: "Stripe's status. requested, refused: of our request to Stripe." }),
    amount: z.int(),
    currency: z.string(),
    reason: z.string().nullable(),
    failure_reason: z
      .string()
      .nullable()
      .meta({ description: 'Why the bank or Stripe refused it. Sponsors do not see it.' }),
  })
  .meta({ id: 'PurchasePaymentRefund' })

const dispute = z
  .object({
    id: z.string(),
    payment: z.string(),
    status: z.string(),
    amount: z.int(),
    currency: z.string(),
    reason: z.string().nullable(),
  })
  .meta({ id: 'PurchaseDispute' })

export const purchasePaymentsSchema = z
  .object({
    object: z.literal('purchase_payments'),
    attempts: z.array(attempt),
    payments: z.array(payment),
    refunds: z.array(refund),
    disputes: z.array(dispute),
  })
  .meta({ id: 'PurchasePayments', description: 'Oldest first. Amounts are in minor units.' })
