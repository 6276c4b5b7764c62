import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

export const paymentIntents = defineTable<Stripe.PaymentIntent>('payment_intent')

/** Which checkout session made an intent; such an intent is driven by its session only. */
export const intentSessions = defineTable<{ id: string; session: string }>(
  'payment_intent.session',
  { hidden: true },
)

/** Who is told when an attempt to pay an intent has succeeded or failed, such as its invoice. */
export const intentFollowers = defineTable<{
  id: string
  settled: (scope: Scope, intent: Stripe.PaymentIntent) => void
}>('payment_intent.follower', { hidden: true })

export type PaymentIntentInput = {
  amount: number
  currency: string
  customer?: string | null | undefined
  description?: string | null | undefined
  metadata?: Record<string, string> | undefined
  receipt_email?: string | null | undefined
  setup_future_usage?: Stripe.PaymentIntent.SetupFutureUsage | null | undefined
  statement_descriptor?: string | null | undefined
  statement_descriptor_suffix?: string | null | undefined
  transfer_group?: string | null | undefined
  payment_method?: string | null | undefined
  payment_method_types?: string[] | undefined
}

/** A new intent, without an event. */
export function createPaymentIntent(
  { account, world }: Scope,
  input: PaymentIntentInput,
): Stripe.PaymentIntent {
  const id = fakeId('pi_3')
  const intent: Stripe.PaymentIntent = {
    id,
    object: 'payment_intent',
    allowed_payment_method_types: null,
    amount: input.amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods: { allow_redirects: 'always', enabled: true },
    canceled_at: null,
    cancellation_reason: null,
    capture_method: 'automatic_async',
    client_secret: `${id}_secret_${fakeId('', 25)}`,
    confirmation_method: 'automatic',
    created: world.clock.seconds(),
    currency: input.currency,
    customer: input.customer ?? null,
    customer_account: null,
    description: input.description ?? null,
    excluded_payment_method_types: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: account.livemode,
    managed_payments: null,
    metadata: input.metadata ?? {},
    next_action: null,
    on_behalf_of: null,
    payment_method: input.payment_method ?? null,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: input.payment_method_types ?? ['card', 'us_bank_account'],
    payment_record: null,
    processing: null,
    receipt_email: input.receipt_email ?? null,
    review: null,
    setup_future_usage: input.setup_future_usage ?? null,
    shipping: null,
    source: null,
    statement_descriptor: input.statement_descriptor ?? null,
    statement_descriptor_suffix: input.statement_descriptor_suffix ?? null,
    status: input.payment_method ? 'requires_confirmation' : 'requires_payment_method',
    transfer_data: null,
    transfer_group: input.transfer_group ?? null,
  }
  return account.rows(paymentIntents).insert(intent)
}
