import { beforeAll, describe, expect, it } from 'vitest'
import { findResource } from '../../../src/mirror/resource-registry.ts'
import { MOMENT, mirroredRow, type Sample, SECONDS } from '../mirrored-row.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const rowOf = (name: string, object: Sample) => mirroredRow(scene, shop, name, object)

const referencesOf = (name: string, object: Sample) =>
  (findResource(name)?.references?.(object) ?? []).map(({ resource, id }) => `${resource} ${id}`)

describe('a charge', () => {
  const CHARGE: Sample = {
    id: 'ch_1',
    object: 'charge',
    amount: 1000,
    amount_captured: 1000,
    amount_refunded: 250,
    balance_transaction: 'txn_1',
    billing_details: { email: 'a@example.com', name: 'Ada' },
    calculated_statement_descriptor: 'CONF 2026',
    captured: true,
    created: SECONDS,
    currency: 'jpy',
    customer: 'cus_1',
    disputed: true,
    failure_code: null,
    outcome: { type: 'authorized', risk_level: 'normal', reason: null },
    paid: true,
    payment_intent: 'pi_1',
    payment_method: 'pm_1',
    payment_method_details: { type: 'card', card: { brand: 'visa', last4: '4242' } },
    receipt_number: '1234-5678',
    refunded: false,
    status: 'succeeded',
  }

  it('has the columns that accountants and support filter by', async () => {
    expect(await rowOf('charges', CHARGE)).toMatchObject({
      amount: '1000',
      amount_captured: '1000',
      amount_refunded: '250',
      balance_transaction: 'txn_1',
      billing_email: 'a@example.com',
      billing_name: 'Ada',
      calculated_statement_descriptor: 'CONF 2026',
      captured: true,
      card_brand: 'visa',
      card_last4: '4242',
      created: MOMENT,
      currency: 'jpy',
      customer: 'cus_1',
      disputed: true,
      failure_code: null,
      outcome_risk_level: 'normal',
      outcome_type: 'authorized',
      paid: true,
      payment_intent: 'pi_1',
      payment_method: 'pm_1',
      payment_method_type: 'card',
      receipt_number: '1234-5678',
      refunded: false,
      status: 'succeeded',
    })
  })

  it('is stored even if its customer and payment are missing, and names them to be fetched (E12)', async () => {
    const orphan = { ...CHARGE, id: 'py_orphan', customer: 'cus_nobody', payment_intent: 'pi_none' }
    expect(await rowOf('charges', orphan)).toMatchObject({ customer: 'cus_nobody' })
    expect(referencesOf('charges', orphan)).toEqual([
      'customers cus_nobody',
      'payment-intents pi_none',
      'balance-transactions txn_1',
    ])
  })

  it('does not name an id of another kind in the customer field', async () => {
    const guest = { ...CHARGE, id: 'ch_guest', customer: 'gcus_1', balance_transaction: null }
    expect(referencesOf('charges', guest)).toEqual(['payment-intents pi_1'])
    expect(await rowOf('charges', guest)).toMatchObject({ customer: 'gcus_1' })
  })

  it('that failed has the reason', async () => {
    const failed = { ...CHARGE, id: 'ch_failed', paid: false, status: 'failed' }
    const refusal = { failure_code: 'card_declined', failure_message: 'Your card was declined.' }
    expect(await rowOf('charges', { ...failed, ...refusal })).toMatchObject({
      ...refusal,
      paid: false,
      status: 'failed',
    })
  })
})

describe('a payment intent', () => {
  it('has its amounts, its payer and its last error', async () => {
    const intent = {
      id: 'pi_1',
      object: 'payment_intent',
      amount: 5000,
      amount_capturable: 100,
      amount_received: 4900,
      canceled_at: SECONDS,
      cancellation_reason: 'abandoned',
      capture_method: 'automatic',
      created: SECONDS,
      currency: 'eur',
      customer: { id: 'cus_1', object: 'customer' },
      last_payment_error: { code: 'card_declined', decline_code: 'lost_card', message: 'Declined' },
      latest_charge: 'ch_1',
      payment_method: null,
      payment_method_types: ['card', 'sepa_debit'],
      status: 'canceled',
    }
    expect(await rowOf('payment-intents', intent)).toMatchObject({
      amount: '5000',
      amount_capturable: '100',
      amount_received: '4900',
      canceled_at: MOMENT,
      cancellation_reason: 'abandoned',
      capture_method: 'automatic',
      currency: 'eur',
      customer: 'cus_1',
      last_payment_error_code: 'card_declined',
      last_payment_error_decline_code: 'lost_card',
      last_payment_error_message: 'Declined',
      latest_charge: 'ch_1',
      payment_method: null,
      payment_method_types: ['card', 'sepa_debit'],
      status: 'canceled',
    })
    expect(referencesOf('payment-intents', intent)).toEqual(['customers cus_1'])
  })
})

describe('a refund', () => {
  it('has its payment and its status', async () => {
    const refund = {
      id: 're_1',
      object: 'refund',
      amount: 300,
      balance_transaction: 'txn_2',
      charge: 'ch_1',
      created: SECONDS,
      currency: 'eur',
      destination_details: { type: 'card', card: { type: 'refund' } },
      failure_balance_transaction: 'txn_3',
      failure_reason: 'lost_or_stolen_card',
      payment_intent: 'pi_1',
      reason: 'requested_by_customer',
      status: 'failed',
    }
    expect(await rowOf('refunds', refund)).toMatchObject({
      amount: '300',
      balance_transaction: 'txn_2',
      charge: 'ch_1',
      currency: 'eur',
      destination_type: 'card',
      failure_balance_transaction: 'txn_3',
      failure_reason: 'lost_or_stolen_card',
      livemode: null,
      payment_intent: 'pi_1',
      reason: 'requested_by_customer',
      status: 'failed',
    })
    expect(referencesOf('refunds', refund)).toEqual([
      'charges ch_1',
      'payment-intents pi_1',
      'balance-transactions txn_2',
      'balance-transactions txn_3',
    ])
  })
})

describe('a dispute', () => {
  const DISPUTE: Sample = {
    id: 'du_1',
    object: 'dispute',
    amount: 1000,
    balance_transactions: [{ id: 'txn_4', object: 'balance_transaction' }],
    charge: 'ch_1',
    created: SECONDS,
    currency: 'eur',
    evidence_details: {
      due_by: SECONDS,
      has_evidence: true,
      past_due: false,
      submission_count: 1,
    },
    is_charge_refundable: false,
    payment_intent: 'pi_1',
    payment_method_details: {
      type: 'card',
      card: { brand: 'visa', case_type: 'chargeback', network_reason_code: '10.4' },
    },
    reason: 'fraudulent',
    status: 'needs_response',
  }

  it('has its reason and the deadline for evidence', async () => {
    expect(await rowOf('disputes', DISPUTE)).toMatchObject({
      amount: '1000',
      balance_transaction: 'txn_4',
      card_brand: 'visa',
      case_type: 'chargeback',
      charge: 'ch_1',
      currency: 'eur',
      evidence_due_by: MOMENT,
      evidence_has_evidence: true,
      evidence_past_due: false,
      evidence_submission_count: '1',
      is_charge_refundable: false,
      network_reason_code: '10.4',
      payment_intent: 'pi_1',
      payment_method_type: 'card',
      reason: 'fraudulent',
      status: 'needs_response',
    })
    expect(referencesOf('disputes', DISPUTE)).toEqual(['charges ch_1', 'payment-intents pi_1'])
  })

  it('that accepts no evidence has no deadline', async () => {
    const unanswerable = { ...DISPUTE, id: 'du_2', evidence_details: { due_by: 0 } }
    expect(await rowOf('disputes', unanswerable)).toMatchObject({ evidence_due_by: null })
  })
})

describe('a checkout session', () => {
  it('has its status, its amounts and the objects that it created', async () => {
    const session = {
      id: 'cs_test_1',
      object: 'checkout.session',
      amount_subtotal: 1000,
      amount_total: 900,
      client_reference_id: 'bp_1',
      created: SECONDS,
      currency: 'eur',
      customer: 'cus_1',
      customer_details: { email: 'typed@example.com', name: 'Ada' },
      customer_email: 'given@example.com',
      expires_at: SECONDS,
      invoice: 'in_1',
      mode: 'subscription',
      payment_intent: 'pi_1',
      payment_status: 'paid',
      status: 'complete',
      subscription: 'sub_1',
      total_details: { amount_discount: 150, amount_shipping: 0, amount_tax: 50 },
    }
    expect(await rowOf('checkout-sessions', session)).toMatchObject({
      amount_discount: '150',
      amount_shipping: '0',
      amount_subtotal: '1000',
      amount_tax: '50',
      amount_total: '900',
      client_reference_id: 'bp_1',
      currency: 'eur',
      customer: 'cus_1',
      customer_email: 'typed@example.com',
      customer_name: 'Ada',
      expires_at: MOMENT,
      invoice: 'in_1',
      mode: 'subscription',
      payment_intent: 'pi_1',
      payment_status: 'paid',
      status: 'complete',
      subscription: 'sub_1',
    })
    expect(referencesOf('checkout-sessions', session)).toEqual([
      'customers cus_1',
      'payment-intents pi_1',
      'subscriptions sub_1',
    ])
    const open = { ...session, id: 'cs_test_2', customer_details: null }
    expect(await rowOf('checkout-sessions', open)).toMatchObject({
      customer_email: 'given@example.com',
    })
  })
})

describe('a setup intent', () => {
  it('has its payment method and customer', async () => {
    const intent = {
      id: 'seti_1',
      object: 'setup_intent',
      created: SECONDS,
      customer: 'cus_1',
      last_setup_error: { code: 'card_declined', message: 'Declined' },
      mandate: 'mandate_1',
      payment_method: 'src_legacy',
      payment_method_types: ['card'],
      status: 'succeeded',
      usage: 'off_session',
    }
    expect(await rowOf('setup-intents', intent)).toMatchObject({
      customer: 'cus_1',
      last_setup_error_code: 'card_declined',
      last_setup_error_message: 'Declined',
      mandate: 'mandate_1',
      payment_method: 'src_legacy',
      payment_method_types: ['card'],
      status: 'succeeded',
      usage: 'off_session',
    })
    expect(referencesOf('setup-intents', intent)).toEqual([
      'customers cus_1',
      'payment-methods src_legacy',
    ])
  })
})

describe('a transfer of money', () => {
  it('to the bank is a payout with its arrival date', async () => {
    const payout = {
      id: 'po_1',
      object: 'payout',
      amount: 1100,
      arrival_date: SECONDS,
      automatic: true,
      balance_transaction: 'txn_5',
      created: SECONDS,
      currency: 'eur',
      destination: 'ba_1',
      failure_code: 'account_closed',
      failure_balance_transaction: 'txn_6',
      method: 'standard',
      reconciliation_status: 'completed',
      source_type: 'card',
      status: 'failed',
      trace_id: { status: 'supported', value: 'T-1' },
      type: 'bank_account',
    }
    expect(await rowOf('payouts', payout)).toMatchObject({
      amount: '1100',
      arrival_date: MOMENT,
      automatic: true,
      balance_transaction: 'txn_5',
      currency: 'eur',
      destination: 'ba_1',
      failure_code: 'account_closed',
      failure_balance_transaction: 'txn_6',
      method: 'standard',
      reconciliation_status: 'completed',
      source_type: 'card',
      status: 'failed',
      trace_id: 'T-1',
      type: 'bank_account',
    })
    expect(referencesOf('payouts', payout)).toEqual([
      'balance-transactions txn_5',
      'balance-transactions txn_6',
    ])
  })

  it('is an entry of the balance with fee and net amount', async () => {
    const entry = {
      id: 'txn_1',
      object: 'balance_transaction',
      amount: 1000,
      available_on: SECONDS,
      balance_type: 'payments',
      created: SECONDS,
      currency: 'eur',
      exchange_rate: 0.9123,
      fee: 59,
      fee_details: [{ amount: 59, type: 'stripe_fee' }],
      net: 941,
      reporting_category: 'charge',
      source: 'ch_1',
      status: 'pending',
      type: 'payment',
    }
    expect(await rowOf('balance-transactions', entry)).toMatchObject({
      amount: '1000',
      available_on: MOMENT,
      balance_type: 'payments',
      created: MOMENT,
      currency: 'eur',
      exchange_rate: '0.9123',
      fee: '59',
      fee_details: [{ amount: 59, type: 'stripe_fee' }],
      net: '941',
      reporting_category: 'charge',
      source: 'ch_1',
      status: 'pending',
      type: 'payment',
    })
    expect(referencesOf('balance-transactions', entry)).toEqual([])
  })
})
