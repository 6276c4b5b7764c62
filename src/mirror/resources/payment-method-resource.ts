import type Stripe from 'stripe'
import { bigint, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'

/** A legacy card holds the same values in other fields. */
export type MirroredPaymentMethod = Stripe.PaymentMethod | Stripe.Card

/** The fields that the types, such as `card` or `sepa_debit`, have in common. */
type Details = {
  brand?: string | null
  country?: string | null
  fingerprint?: string | null
  funding?: string | null
  last4?: string | null
}

const isCard = (method: MirroredPaymentMethod): method is Stripe.Card => method.object === 'card'

function typeOf(method: MirroredPaymentMethod): string {
  return isCard(method) ? 'card' : method.type
}

function detailsOf(method: MirroredPaymentMethod): Details | null | undefined {
  return isCard(method) ? method : Reflect.get(method, method.type ?? 'card')
}

function expiryOf(method: MirroredPaymentMethod) {
  return isCard(method) ? method : method.card
}

function billingOf(method: MirroredPaymentMethod) {
  return isCard(method) ? undefined : method.billing_details
}

function walletOf(method: MirroredPaymentMethod) {
  return isCard(method) ? undefined : method.card?.wallet
}

function addressOf(method: MirroredPaymentMethod): Partial<Stripe.Address> | null | undefined {
  if (!isCard(method)) return method.billing_details?.address
  return {
    line1: method.address_line1,
    line2: method.address_line2,
    city: method.address_city,
    state: method.address_state,
    postal_code: method.address_zip,
    country: method.address_country,
  }
}

function checksOf(
  method: MirroredPaymentMethod,
): Partial<Stripe.PaymentMethod.Card.Checks> | null | undefined {
  if (!isCard(method)) return method.card?.checks
  return {
    cvc_check: method.cvc_check,
    address_line1_check: method.address_line1_check,
    address_postal_code_check: method.address_zip_check,
  }
}

/**
 * Cards and all other payment methods, attached to a customer or not. A legacy `card_…` is also a
 * payment method, with the same id.
 *
 * @see https://docs.stripe.com/api/payment_methods/object
 */
export const resource: StripeResource<MirroredPaymentMethod> = {
  name: 'payment-methods',
  description: 'A card, bank account or other payment method. A detached one has no customer.',
  objects: ['payment_method', 'card'],
  // The API also returns older sources (`src_`) and bank accounts (`ba_`) as payment methods.
  idPrefixes: ['pm_', 'card_', 'src_', 'ba_'],
  columns: {
    type: text(typeOf),
    customer: reference((method) => method.customer),
    billing_name: text((method) => (isCard(method) ? method.name : method.billing_details?.name)),
    billing_email: text((method) => billingOf(method)?.email, { indexed: true }),
    billing_phone: text((method) => billingOf(method)?.phone),
    address_line1: text((method) => addressOf(method)?.line1),
    address_line2: text((method) => addressOf(method)?.line2),
    address_city: text((method) => addressOf(method)?.city),
    address_state: text((method) => addressOf(method)?.state),
    address_postal_code: text((method) => addressOf(method)?.postal_code),
    address_country: text((method) => addressOf(method)?.country),
    brand: text((method) => detailsOf(method)?.brand),
    last4: text((method) => detailsOf(method)?.last4),
    funding: text((method) => detailsOf(method)?.funding),
    country: text((method) => detailsOf(method)?.country),
    fingerprint: text((method) => detailsOf(method)?.fingerprint, { indexed: true }),
    exp_month: bigint((method) => expiryOf(method)?.exp_month),
    exp_year: bigint((method) => expiryOf(method)?.exp_year),
    // The last digits of the number that a wallet shows to the merchant instead of the card number.
    dynamic_last4: text((method) =>
      isCard(method) ? method.dynamic_last4 : walletOf(method)?.dynamic_last4,
    ),
    wallet_type: text((method) =>
      isCard(method) ? method.tokenization_method : walletOf(method)?.type,
    ),
    cvc_check: text((method) => checksOf(method)?.cvc_check),
    address_line1_check: text((method) => checksOf(method)?.address_line1_check),
    address_postal_code_check: text((method) => checksOf(method)?.address_postal_code_check),
  },
  views: {
    // The columns have the names of Stripe's Card object.
    cards: `
      select conference_id, id, customer, billing_name as name, brand, last4, dynamic_last4,
        exp_month, exp_year, funding, country, fingerprint, wallet_type as tokenization_method,
        address_line1, address_line1_check, address_line2, address_city, address_state,
        address_postal_code as address_zip, address_postal_code_check as address_zip_check,
        address_country, cvc_check, created, livemode, metadata, as_of
      from mirror where type = 'card' and deleted_at is null`,
  },
  listing: {
    by: 'parent',
    parent: 'customers',
    page: (stripe, customer, params) => stripe.customers.listPaymentMethods(customer, params),
  },
  deletable: true,
  // Only attached payment methods are listed.
  unlisted: 'mirror.customer is null',
  retrieve: (stripe, id) => stripe.paymentMethods.retrieve(id),
  references: (method) => referencesTo([customers, method.customer]),
  belongsTo: (method) => [[customers, method.customer]],
  usedBy: [
    ['payment-intents', 'payment_method'],
    ['charges', 'payment_method'],
    ['setup-intents', 'payment_method'],
  ],
  createAction: (context) => new StripePaymentMethodAction(context),
}

/** Mirrors payment methods, including detached ones. The view `stripe.cards` shows the cards. */
export class StripePaymentMethodAction extends StripeSyncAction<MirroredPaymentMethod> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
