import type { Resource } from '../api/operations.ts'
import { accountResource } from './account.ts'
import { balanceResource, balanceTransactionResource } from './balance.ts'
import { cardResource } from './card.ts'
import { chargeResource } from './charge.ts'
import { checkoutSessionResource, lineItemResource } from './checkout-session-api.ts'
import { couponResource } from './coupon-api.ts'
import { customerResource, invoiceSettingsResource } from './customer-api.ts'
import { discountResource } from './discount.ts'
import { disputeResource } from './dispute.ts'
import { earlyFraudWarningResource } from './early-fraud-warning.ts'
import { eventResource } from './event.ts'
import {
  invoiceLineResource,
  invoiceParentResource,
  invoiceResource,
  invoiceSubscriptionResource,
} from './invoice-api.ts'
import { invoicePaymentResource, paymentOfInvoiceResource } from './invoice-collection.ts'
import { invoiceItemResource } from './invoice-item.ts'
import { paymentIntentResource } from './payment-intent-api.ts'
import { paymentMethodResource } from './payment-method-api.ts'
import { payoutResource } from './payout.ts'
import { planResource } from './plan.ts'
import { priceResource } from './price-api.ts'
import { productResource } from './product.ts'
import { promotionCodeResource, promotionResource, restrictionsResource } from './promotion-code.ts'
import { refundResource } from './refund.ts'
import { setupIntentResource } from './setup-intent.ts'
import { subscriptionItemResource, subscriptionResource } from './subscription-api.ts'
import { testClockResource } from './test-clock-api.ts'
import { webhookEndpointResource } from './webhook-endpoint.ts'

/**
 * Every kind of object that the fake implements. To add a kind, add a file in this folder and a
 * line here.
 */
export const ALL_RESOURCES: readonly Resource[] = [
  accountResource,
  balanceResource,
  balanceTransactionResource,
  cardResource,
  chargeResource,
  checkoutSessionResource,
  couponResource,
  customerResource,
  disputeResource,
  earlyFraudWarningResource,
  eventResource,
  discountResource,
  invoiceItemResource,
  invoiceLineResource,
  invoiceParentResource,
  invoicePaymentResource,
  invoiceResource,
  invoiceSettingsResource,
  invoiceSubscriptionResource,
  lineItemResource,
  paymentIntentResource,
  paymentMethodResource,
  paymentOfInvoiceResource,
  payoutResource,
  planResource,
  priceResource,
  productResource,
  promotionCodeResource,
  promotionResource,
  refundResource,
  restrictionsResource,
  setupIntentResource,
  subscriptionItemResource,
  subscriptionResource,
  testClockResource,
  webhookEndpointResource,
]

export const RESOURCES_BY_KIND: ReadonlyMap<string, Resource> = new Map(
  ALL_RESOURCES.map((resource) => [resource.kind, resource]),
)
