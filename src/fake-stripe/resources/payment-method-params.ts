import type Stripe from 'stripe'
import type { z } from 'zod'
import { addressParam } from '../api/address-param.ts'
import { metadataParam } from '../api/metadata.ts'
import {
  choice,
  email,
  emptyable,
  group,
  ignored,
  integer,
  type ShapeOf,
  text,
  unsupported,
  unsupportedAll,
} from '../api/params.ts'
import { PAYMENT_METHOD_KINDS } from '../objects/payment-method.ts'

const billingDetails = {
  address: addressParam().optional(),
  email: emptyable(email()).optional(),
  name: emptyable(text()).optional(),
  phone: emptyable(text({ max: 20 })).optional(),
  tax_id: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.BillingDetails>

const redisplay = choice('allow_redisplay', ['always', 'limited', 'unspecified'])
const expiry = {
  exp_month: integer({ min: 1, max: 12 }).optional(),
  exp_year: integer({ min: 0, max: 2100 }).optional(),
}

const newCard = {
  ...expiry,
  cvc: text({ max: 4 }).optional(),
  networks: ignored(),
  number: text().optional(),
  token: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.Card>

const bankAccount = {
  account_holder_type: choice('account_holder_type', ['company', 'individual']).optional(),
  account_number: text().optional(),
  account_type: choice('account_type', ['checking', 'savings']).optional(),
  financial_connections_account: unsupported('financial connections'),
  routing_number: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.UsBankAccount>

const OTHER_KINDS = [
  ...(['acss_debit', 'affirm', 'afterpay_clearpay', 'alipay', 'alma', 'amazon_pay'] as const),
  ...(['au_becs_debit', 'bacs_debit', 'bancontact', 'billie', 'bizum', 'blik', 'boleto'] as const),
  ...(['cashapp', 'crypto', 'custom', 'eps', 'fpx', 'giropay', 'grabpay', 'ideal'] as const),
  ...(['interac_present', 'kakao_pay', 'klarna', 'konbini', 'kr_card', 'link', 'mb_way'] as const),
  ...(['mobilepay', 'multibanco', 'naver_pay', 'nz_bank_account', 'oxxo', 'p24'] as const),
  ...(['pay_by_bank', 'payco', 'paynow', 'paypal', 'paypay', 'payto', 'pix'] as const),
  ...(['promptpay', 'revolut_pay', 'samsung_pay', 'satispay', 'scalapay', 'sequra'] as const),
  ...(['sofort', 'sunbit', 'swish', 'twint', 'upi', 'wechat_pay', 'zip'] as const),
] as const

/** `POST /v1/payment_methods` */
export const methodCreateParams = group({
  ...unsupportedAll(OTHER_KINDS, 'this kind of payment method'),
  allow_redisplay: redisplay.optional(),
  billing_details: group(billingDetails).optional(),
  card: group(newCard).optional(),
  customer: unsupported('cloning of payment methods'),
  customer_balance: ignored(),
  metadata: metadataParam().optional(),
  payment_method: unsupported('cloning of payment methods'),
  radar_options: ignored(),
  sepa_debit: group({ iban: text() }).optional(),
  type: choice('type', PAYMENT_METHOD_KINDS),
  us_bank_account: group(bankAccount).optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams>)

/** `POST /v1/payment_methods/:id` */
export const methodUpdateParams = group({
  allow_redisplay: redisplay.optional(),
  billing_details: group(billingDetails).optional(),
  card: group({ ...expiry, networks: ignored() }).optional(),
  metadata: metadataParam().optional(),
  us_bank_account: ignored(),
} satisfies ShapeOf<Stripe.PaymentMethodUpdateParams>)

export type MethodCreateInput = z.output<typeof methodCreateParams>
export type MethodUpdateInput = z.output<typeof methodUpdateParams>
