import type { Resource } from '../api/resource.ts'
import { accountResource } from './account.ts'
import { balanceTransactionResource } from './balance-transaction.ts'
import { chargeResource } from './charge.ts'
import { checkoutSessionResource, lineItemResource } from './checkout-session.ts'
import { customerResource } from './customer.ts'
import { disputeResource } from './dispute.ts'
import { earlyFraudWarningResource } from './early-fraud-warning.ts'
import { eventResource } from './event.ts'
import { paymentIntentResource } from './payment-intent.ts'
import { paymentMethodResource } from './payment-method.ts'
import { refundResource } from './refund.ts'
import { setupIntentResource } from './setup-intent.ts'
import { webhookEndpointResource } from './webhook-endpoint.ts'

/** Every kind of object that the fake serves. A new kind is a file beside these and a line here. */
export const ALL_RESOURCES: readonly Resource[] = [
  accountResource,
  balanceTransactionResource,
  chargeResource,
  checkoutSessionResource,
  customerResource,
  disputeResource,
  earlyFraudWarningResource,
  eventResource,
  lineItemResource,
  paymentIntentResource,
  paymentMethodResource,
  refundResource,
  setupIntentResource,
  webhookEndpointResource,
]

export const RESOURCES_BY_KIND: ReadonlyMap<string, Resource> = new Map(
  ALL_RESOURCES.map((resource) => [resource.kind, resource]),
)
