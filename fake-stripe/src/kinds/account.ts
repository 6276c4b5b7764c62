import type Stripe from 'stripe'
import { operation, type Resource } from '../api/operations.ts'
import { group } from '../api/params.ts'
import { StripeError } from '../core/errors.ts'
import type { Scope } from '../core/scope.ts'

/** The account as its own key shows it. */
function accountObject({ account }: Scope): Stripe.Account {
  const { id, name, country, defaultCurrency, created } = account.profile
  return {
    id,
    object: 'account',
    business_profile: businessProfile(name),
    business_type: 'company',
    capabilities: { card_payments: 'active', transfers: 'active' },
    charges_enabled: true,
    controller: { type: 'account' },
    country,
    created,
    default_currency: defaultCurrency,
    details_submitted: true,
    email: 'merchant@example.com',
    external_accounts: {
      object: 'list',
      data: [],
      has_more: false,
      url: `/v1/accounts/${id}/external_accounts`,
    },
    future_requirements: noRequirements(),
    metadata: {},
    payouts_enabled: true,
    requirements: noRequirements(),
    settings: settings(name),
    tos_acceptance: { date: null, ip: null, user_agent: null },
    type: 'standard',
  }
}

function businessProfile(name: string): Stripe.Account.BusinessProfile {
  return {
    annual_revenue: null,
    estimated_worker_count: null,
    mcc: null,
    minority_owned_business_designation: null,
    name,
    product_description: null,
    specified_commercial_transactions_act_url: null,
    support_address: null,
    support_email: null,
    support_phone: null,
    support_url: null,
    url: null,
  }
}

function noRequirements(): Stripe.Account.Requirements & Stripe.Account.FutureRequirements {
  return {
    alternatives: [],
    current_deadline: null,
    currently_due: [],
    disabled_reason: null,
    errors: [],
    eventually_due: [],
    past_due: [],
    pending_verification: [],
  }
}

function settings(name: string): Stripe.Account.Settings {
  return {
    bacs_debit_payments: { display_name: null, service_user_number: null },
    branding: { icon: null, logo: null, primary_color: null, secondary_color: null },
    card_issuing: { tos_acceptance: { date: null, ip: null } },
    card_payments: {
      decline_on: { avs_failure: false, cvc_failure: true },
      statement_descriptor_prefix: null,
      statement_descriptor_prefix_kana: null,
      statement_descriptor_prefix_kanji: null,
    },
    dashboard: { display_name: name, timezone: 'Etc/UTC' },
    invoices: { default_account_tax_ids: null, hosted_payment_method_save: 'offer' },
    payments: {
      statement_descriptor: name.slice(0, 22).toUpperCase(),
      statement_descriptor_kana: null,
      statement_descriptor_kanji: null,
      statement_descriptor_prefix_kana: null,
      statement_descriptor_prefix_kanji: null,
    },
    payouts: {
      debit_negative_balances: true,
      schedule: { delay_days: 2, interval: 'daily' },
      statement_descriptor: null,
    },
    sepa_debit_payments: {},
  }
}

/** The key's own account; the fake has no Connect. @see https://docs.stripe.com/api/accounts */
export const accountResource: Resource = {
  kind: 'account',
  expandable: {},
  operations: [
    operation({
      method: 'GET',
      path: '/v1/account',
      returns: 'account',
      params: group({}),
      run: (call) => accountObject(call),
    }),
    operation({
      method: 'GET',
      path: '/v1/accounts/:id',
      returns: 'account',
      params: group({}),
      run: (call, _params, { id = '' }) => ownAccount(call, id),
    }),
  ],
}

function ownAccount(scope: Scope, id: string): Stripe.Account {
  if (id === scope.account.id) return accountObject(scope)
  throw new StripeError(
    403,
    'invalid_request_error',
    `The provided key does not have access to account '${id}' (or that account does not exist). Application access may have been revoked.`,
    { code: 'account_invalid' },
  )
}
