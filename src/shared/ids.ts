import { customAlphabet } from 'nanoid'

// Letters and digits only: an id can be selected with a double click and split at '_'.
const body = customAlphabet('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 21)
const secret = customAlphabet('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 40)

export const ID_PREFIXES = {
  conference: 'conf',
  sponsor: 'spon',
  sponsorLevel: 'lvl',
  ticketType: 'tkt',
  addOn: 'add',
  purchase: 'bp',
  voucherBatch: 'vb',
  redemption: 'red',
  apiKey: 'key',
  webhookSecret: 'whs',
  refundRequest: 'rr',
  publication: 'pub',
  syncRun: 'sync',
  discountChange: 'dc',
  webhookEndpoint: 'we',
  webhookDelivery: 'msg',
  mail: 'mail',
  customer: 'cust',
  cardSetup: 'setup',
  charge: 'chg',
  chargeRefund: 'chr',
  plan: 'plan',
  subscription: 'subs',
  process: 'proc',
} as const

export type IdKind = keyof typeof ID_PREFIXES

/** A new id such as `bp_V1StGXR8Z5jdHi6BmyT7a`: 21 symbols of 62, about 125 random bits. */
export function newId(kind: IdKind): string {
  return `${ID_PREFIXES[kind]}_${body()}`
}

/** 40 symbols of 62 (238 random bits) for an API key's secret part. */
export function newSecret(): string {
  return secret()
}
