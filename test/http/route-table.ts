import { operationsOf } from '../../src/http/openapi/api-document.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import type { Scope } from '../../src/shared/caller.ts'
import { openapiYaml } from '../support/validate-response.ts'

/**
 * Who may call an operation. Operators may call all operations. `authenticated`: every valid key, and
 * everybody who is signed in. `staff`: any staff key of the
 * conference. A list: staff with one of the scopes, and with `sponsor` a sponsor for its own objects.
 */
export type Who =
  | 'public'
  | 'stripe'
  | 'authenticated'
  | 'operator'
  | 'staff'
  | readonly (Scope | 'sponsor')[]

const MIRROR: Who = ['stripe:sync']
const CATALOG_READERS: Who = [
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'vouchers:read',
  'vouchers:write',
  'vouchers:redeem',
  'sponsor',
]
const SPONSOR_READERS: Who = [
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'vouchers:write',
  'keys:write',
]

/**
 * The reviewed decision for every operation of openapi.yaml. It repeats the access rules on purpose: a
 * new route or a changed rule fails the tests until this table is changed too.
 */
export const WHO_MAY: Record<string, Who> = {
  createConference: 'operator',
  listConferences: 'operator',
  listAllPurchases: 'operator',
  getConference: 'staff',
  updateConference: ['settings:write'],
  getPurchaseOptions: ['purchases:read', 'sponsor'],
  createWebhookSecret: ['settings:write'],
  listWebhookSecrets: ['settings:write'],
  deleteWebhookSecret: ['settings:write'],

  createOperatorApiKey: 'operator',
  listOperatorApiKeys: 'operator',
  rotateOperatorApiKey: 'operator',
  revokeOperatorApiKey: 'operator',
  createApiKey: ['keys:write'],
  listApiKeys: ['keys:write'],
  rotateApiKey: ['keys:write'],
  revokeApiKey: ['keys:write'],

  listAuditLog: ['settings:write', 'keys:write'],

  inviteOperator: 'operator',
  listOperators: 'operator',
  updateOperator: 'operator',
  removeOperator: 'operator',
  inviteUser: ['keys:write', 'sponsor'],
  listUsers: ['keys:write', 'sponsor'],
  updateUser: ['keys:write', 'sponsor'],
  removeUser: ['keys:write', 'sponsor'],
  requestSignIn: 'public',
  getSignInMethods: 'public',
  createSession: 'public',
  getMe: 'authenticated',
  listSessions: 'authenticated',
  endSession: 'authenticated',

  createSponsorLevel: ['catalog:write'],
  listSponsorLevels: ['catalog:write'],
  getSponsorLevel: ['catalog:write'],
  updateSponsorLevel: ['catalog:write'],
  createSponsor: ['catalog:write'],
  listSponsors: SPONSOR_READERS,
  getSponsor: SPONSOR_READERS,
  updateSponsor: ['catalog:write'],

  createTicketType: ['catalog:write'],
  listTicketTypes: CATALOG_READERS,
  getTicketType: CATALOG_READERS,
  updateTicketType: ['catalog:write'],
  createAddOn: ['catalog:write'],
  listAddOns: CATALOG_READERS,
  getAddOn: CATALOG_READERS,
  updateAddOn: ['catalog:write'],

  createPurchase: ['purchases:write', 'sponsor'],
  listPurchases: ['purchases:read', 'sponsor'],
  getPurchase: ['purchases:read', 'sponsor'],
  updatePurchase: ['purchases:write', 'sponsor'],
  listPurchaseTransitions: ['purchases:read', 'sponsor'],
  createPurchaseNote: ['purchases:write'],
  getPurchasePayments: ['purchases:read', 'sponsor'],
  checkoutPurchase: ['purchases:write', 'sponsor'],
  payPurchase: ['purchases:write', 'sponsor'],
  cancelPurchase: ['purchases:write', 'sponsor'],
  approvePurchase: ['purchases:write'],
  revokePurchase: ['purchases:write'],
  markPurchasePaid: ['purchases:write'],
  reconcilePurchase: ['purchases:write'],
  resolvePurchaseFlag: ['purchases:write'],
  refundPurchase: ['refunds:write'],

  listPurchaseVouchers: ['vouchers:read', 'sponsor'],
  createVoucherBatch: ['vouchers:write'],
  listVoucherBatches: ['vouchers:read', 'vouchers:write', 'sponsor'],
  getVoucherBatch: ['vouchers:read', 'vouchers:write', 'sponsor'],
  listBatchVouchers: ['vouchers:read', 'sponsor'],
  listVouchers: ['vouchers:read', 'sponsor'],
  getVoucher: ['vouchers:redeem', 'sponsor'],
  assignVoucher: ['vouchers:write', 'sponsor'],
  unassignVoucher: ['vouchers:write', 'sponsor'],
  sendVoucherAssignment: ['vouchers:write', 'sponsor'],
  assignPurchaseVouchers: ['vouchers:write', 'sponsor'],
  assignBatchVouchers: ['vouchers:write', 'sponsor'],
  deactivateVoucher: ['vouchers:write'],
  activateVoucher: ['vouchers:write'],

  redeemVoucher: ['vouchers:redeem'],
  confirmRedemption: ['vouchers:redeem'],
  listRedemptions: ['vouchers:redeem'],
  releaseRedemption: ['vouchers:redeem'],

  createPlan: ['billing:write'],
  listPlans: ['billing:write'],
  getPlan: ['billing:write'],
  updatePlan: ['billing:write'],

  createSubscription: ['billing:write'],
  listSubscriptions: ['billing:write', 'sponsor'],
  getSubscription: ['billing:write', 'sponsor'],
  updateSubscription: ['billing:write'],
  refreshSubscription: ['billing:write'],
  cancelSubscription: ['billing:write'],

  reportIssueTimes: ['purchases:read'],
  reportMoney: ['purchases:read'],
  reportPurchases: ['purchases:read'],
  reportVouchers: ['purchases:read', 'sponsor'],
  listPayouts: ['purchases:read'],
  reconcilePayout: ['purchases:read'],
  reportBalance: ['purchases:read'],
  getSponsorStatement: ['purchases:read', 'sponsor'],
  listPurchaseDocuments: ['purchases:read', 'sponsor'],

  createWebhookEndpoint: ['settings:write'],
  listWebhookEndpoints: ['settings:write'],
  getWebhookEndpoint: ['settings:write'],
  updateWebhookEndpoint: ['settings:write'],
  deleteWebhookEndpoint: ['settings:write'],
  rotateWebhookEndpointSecret: ['settings:write'],
  listWebhookDeliveries: ['settings:write'],
  replayWebhookDelivery: ['settings:write'],

  exportPersonalData: ['settings:write'],
  erasePersonalData: ['settings:write'],
  listErasures: ['settings:write'],
  getErasure: ['settings:write'],

  createCharge: ['refunds:write'],
  listCharges: ['refunds:write'],
  getCharge: ['refunds:write'],
  chargeCharge: ['refunds:write'],
  checkoutCharge: ['refunds:write'],
  refundCharge: ['refunds:write'],
  cancelCharge: ['refunds:write'],
  reconcileCharge: ['refunds:write'],

  createCustomer: ['billing:write', 'sponsor'],
  listCustomers: ['billing:write', 'sponsor'],
  getCustomer: ['billing:write', 'sponsor'],
  refreshCustomer: ['billing:write', 'sponsor'],
  listPaymentMethods: ['billing:write', 'sponsor'],
  updateCustomer: ['billing:write', 'sponsor'],
  attachPaymentMethod: ['billing:write', 'sponsor'],
  setupPaymentMethod: ['billing:write', 'sponsor'],
  setDefaultPaymentMethod: ['billing:write', 'sponsor'],
  detachPaymentMethod: ['billing:write', 'sponsor'],

  listStripeEvents: ['stripe:sync'],
  replayStripeEvent: ['stripe:sync'],
  receiveStripeEvent: 'stripe',
  listStripeObjects: MIRROR,
  getStripeObject: MIRROR,
  syncStripeObjects: MIRROR,
  listSyncRuns: MIRROR,
  getSyncRun: MIRROR,
  cancelSyncRun: MIRROR,
  listStripeDrift: MIRROR,

  createStripeCoupon: ['billing:write'],
  updateStripeCoupon: ['billing:write'],
  deleteStripeCoupon: ['billing:write'],
  createStripePromotionCode: ['billing:write'],
  updateStripePromotionCode: ['billing:write'],
  listDiscountChanges: ['billing:write'],
  publishVoucherBatch: ['billing:write'],
  getVoucherPublication: ['billing:write', 'vouchers:read'],

  getLiveness: 'public',
  getReadiness: 'public',
  getMetrics: 'public',
  getOpenapi: 'public',
}

/** Routes of one resource with another decision: who creates coupons and their codes reads them too. */
const WHO_MAY_OF_RESOURCE: Record<string, Who> = {
  'listStripeObjects coupons': ['stripe:sync', 'billing:write'],
  'getStripeObject coupons': ['stripe:sync', 'billing:write'],
  'listStripeObjects promotion-codes': ['stripe:sync', 'billing:write'],
  'getStripeObject promotion-codes': ['stripe:sync', 'billing:write'],
}

/** One route; a template with `{resource}` stands for one route per resource of the mirror. */
export type Route = {
  id: string
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** The path in openapi.yaml. */
  template: string
  /** The same, where the template has `{resource}` with the name of one. */
  path: string
  who: Who
}

/** Every route of openapi.yaml. */
export const ROUTES: readonly Route[] = operationsOf(openapiYaml()).flatMap(
  ({ path, method, operation }) =>
    (path.includes('{resource}') ? ALL_RESOURCES : [null]).map((resource) => ({
      id: idOf(operation.operationId, resource?.name),
      // The methods of this service. inject() refuses others.
      method: method.toUpperCase() as Route['method'],
      template: path,
      path: resource === null ? path : path.replace('{resource}', resource.name),
      who:
        WHO_MAY_OF_RESOURCE[idOf(operation.operationId, resource?.name)] ??
        WHO_MAY[operation.operationId] ??
        'public',
    })),
)

function idOf(operationId: string, resource: string | undefined): string {
  return resource === undefined ? operationId : `${operationId} ${resource}`
}

/** The kind of object of the last id in a path: `purchase`, or `sponsors` for `{id}`. */
export function kindOf({ path }: Route): string | null {
  const parts = path.split('/')
  const at = parts.findIndex((part) => part.startsWith('{') && part !== '{conference}')
  if (at === -1) return null
  return parts[at] === '{id}' ? (parts[at - 1] ?? '') : (parts[at] ?? '').slice(1, -1)
}

/** The names of other ids in a path: `delivery` of an endpoint. */
export function partsOf({ path }: Route): string[] {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '')
  return names.filter((name) => name !== 'conference').slice(1)
}
