import type { ApiDocs } from '../http/openapi/operation-docs.ts'
import { CHARGE_DOCS } from './charge-docs.ts'
import { COUPON_DOCS } from './coupon-docs.ts'
import { CUSTOMER_DOCS } from './customer-docs.ts'
import { DRIFT_DOCS } from './drift-docs.ts'
import { MIRROR_DOCS } from './mirror-docs.ts'
import { OUTGOING_WEBHOOK_DOCS } from './outgoing-webhook-docs.ts'
import { PURCHASE_DOCS } from './purchase-docs.ts'
import { SETUP_DOCS } from './setup-docs.ts'
import { SUBSCRIPTION_DOCS } from './subscription-docs.ts'
import { VOUCHER_DOCS } from './voucher-docs.ts'

/** Examples and own error codes of the operations, by operationId. */
export const OPERATION_DOCS: ApiDocs = {
  ...PURCHASE_DOCS,
  ...VOUCHER_DOCS,
  ...SETUP_DOCS,
  ...MIRROR_DOCS,
  ...DRIFT_DOCS,
  ...SUBSCRIPTION_DOCS,
  ...COUPON_DOCS,
  ...CUSTOMER_DOCS,
  ...CHARGE_DOCS,
  ...OUTGOING_WEBHOOK_DOCS,
}
