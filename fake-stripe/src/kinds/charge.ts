import type Stripe from 'stripe'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  createdWithin,
  existing,
  listOperation,
  loadRelated,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { choice, email, group, ignored, type ShapeOf, text, timeRange } from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, emitEvent, givenFields } from '../core/changes.ts'
import type { PaymentFailure } from '../core/declines.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

export const charges = defineTable<Stripe.Charge>('charge')

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
    // Since API version 2022-11-15 a charge contains them only when they are expanded.
    refunds: { kind: 'refund', list: true, load: loadRelated('refund', 'charge', refundsUrl) },
  },
  operations: [
    searchOperation({
      path: '/v1/charges/search',
      table: charges,
      fields: {
        amount: 'numeric',
        'billing_details.address.postal_code': 'token',
        created: 'numeric',
        currency: 'token',
        customer: 'token',
        disputed: 'token',
        'payment_method_details.card.brand': 'token',
        'payment_method_details.card.exp_month': 'token',
        'payment_method_details.card.exp_year': 'token',
        'payment_method_details.card.fingerprint': 'token',
        'payment_method_details.card.last4': 'token',
        // True: fully refunded; false: partially refunded; null: not refunded.
        refunded: {
          type: 'token',
          read: (charge) => (charge.amount_refunded === 0 ? null : charge.refunded),
        },
        status: 'token',
      },
    }),
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

function refundsUrl(charge: string): string {
  return `/v1/charges/${charge}/refunds`
}

export type ChargeResult =
  | { status: 'succeeded' }
  | { status: 'pending' }
  | { status: 'failed'; failure: PaymentFailure }

/**
 * Creates the charge of one payment attempt. It copies the intent's metadata and description, so a
 * charge alone leads back to the purchase.
 */
export function createCharge(
  scope: Scope,
  intent: Stripe.PaymentIntent,
  method: Stripe.PaymentMethod,
  result: ChargeResult,
): Stripe.Charge {
  const { account, world } = scope
  const id = fakeId(method.type === 'card' ? 'ch_3' : 'py_3')
  const failure = result.status === 'failed' ? result.failure : null
  const charge: Stripe.Charge = {
    id,
    object: 'charge',
    amount: intent.amount,
    amount_captured: result.status === 'succeeded' ? intent.amount : 0,
    amount_refunded: 0,
    application: null,
    application_fee: null,
    application_fee_amount: null,
    balance_transaction: null,
    billing_details: method.billing_details,
    calculated_statement_descriptor: account.profile.name.slice(0, 22).toUpperCase(),
    captured: result.status !== 'failed',
    created: world.clock.seconds(),
    currency: intent.currency,
    customer: idOf(intent.customer),
    description: intent.description,
    disputed: false,
    failure_balance_transaction: null,
    failure_code: failure?.code ?? null,
    failure_message: failure?.message ?? null,
    fraud_details: {},
    livemode: account.livemode,
    metadata: intent.metadata,
    on_behalf_of: null,
    outcome: outcome(failure),
    paid: result.status === 'succeeded',
    payment_intent: intent.id,
    payment_method: method.id,
    payment_method_details: paymentMethodDetails(method, intent.amount),
    receipt_email: intent.receipt_email,
    receipt_number: null,
    receipt_url: failure === null ? `${world.url()}/receipts/${id}` : null,
    refunded: false,
    review: null,
    shipping: null,
    source: null,
    source_transfer: null,
    statement_descriptor: intent.statement_descriptor,
    statement_descriptor_suffix: intent.statement_descriptor_suffix,
    status: result.status,
    transfer_data: null,
    transfer_group: intent.transfer_group,
  }
  return account.rows(charges).insert(charge)
}

export function outcome(failure: PaymentFailure | null): Stripe.Charge.Outcome {
  const declined = failure !== null
  return {
    advice_code: declined ? 'try_again_later' : null,
    network_advice_code: null,
    network_decline_code: null,
    network_status: declined ? 'declined_by_network' : 'approved_by_network',
    reason: failure?.declineCode ?? null,
    risk_level: 'normal',
    risk_score: 12,
    seller_message: declined
      ? 'The bank did not return any further details with this decline.'
      : 'Payment complete.',
    type: declined ? 'issuer_declined' : 'authorized',
  }
}

function paymentMethodDetails(
  method: Stripe.PaymentMethod,
  amount: number,
): Stripe.Charge.PaymentMethodDetails {
  const { type, card, us_bank_account: bank, sepa_debit: sepa } = method
  if (card !== undefined) return { type: 'card', card: cardDetails(card, amount) }
  if (bank !== undefined)
    return {
      type: 'us_bank_account',
      us_bank_account: {
        account_holder_type: bank.account_holder_type,
        account_type: bank.account_type,
        bank_name: bank.bank_name,
        fingerprint: bank.fingerprint,
        last4: bank.last4,
        payment_reference: null,
        routing_number: bank.routing_number,
      },
    }
  if (sepa !== undefined)
    return {
      type: 'sepa_debit',
      sepa_debit: {
        bank_code: sepa.bank_code,
        branch_code: sepa.branch_code,
        country: sepa.country,
        fingerprint: sepa.fingerprint,
        last4: sepa.last4,
        mandate: null,
      },
    }
  return { type, customer_balance: {} }
}

function cardDetails(
  card: Stripe.PaymentMethod.Card,
  amount: number,
): Stripe.Charge.PaymentMethodDetails.Card {
  return {
    amount_authorized: amount,
    authorization_code: '123456',
    brand: card.brand,
    checks: card.checks,
    country: card.country,
    electronic_commerce_indicator: null,
    exp_month: card.exp_month,
    exp_year: card.exp_year,
    extended_authorization: { status: 'disabled' },
    fingerprint: card.fingerprint ?? null,
    funding: card.funding,
    incremental_authorization: { status: 'unavailable' },
    installments: null,
    last4: card.last4,
    mandate: null,
    multicapture: { status: 'unavailable' },
    network: 'visa',
    network_token: { used: false },
    network_transaction_id: null,
    overcapture: { maximum_amount_capturable: amount, status: 'unavailable' },
    regulated_status: card.regulated_status,
    three_d_secure: null,
    transaction_link_id: null,
    wallet: null,
  }
}
