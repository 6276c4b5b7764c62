import { customAlphabet } from 'nanoid'

// Only letters and digits, so that a double click selects an id and `_` splits it.
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
  user: 'usr',
  session: 'ses',
  signInLink: 'sil',
  webhookSecret: 'whs',
  refundRequest: 'rr',
  recordedPayment: 'rp',
  recordedRefund: 'rfd',
  publication: 'pub',
  syncRun: 'sync',
  eventCheck: 'check',
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
  erasure: 'er',
  process: 'proc',
} as const

export type IdKind = keyof typeof ID_PREFIXES

/** A new id such as `bp_V1StGXR8Z5jdHi6BmyT7a`: 21 of 62 symbols, about 125 random bits. */
export function newId(kind: IdKind): string {
  return `${ID_PREFIXES[kind]}_${body()}`
}

/** The secret part of an API key, session or sign-in link: 40 of 62 symbols, 238 random bits. */
export function newSecret(): string {
  return secret()
}
