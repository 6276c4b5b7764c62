import type { Schema } from '../api/client.ts'
import { formatStripeMoney } from '../ui/format.ts'

export type Resource = Schema<'StripeResource'>

/** The name of each resource, of one object, and the path of its objects in Stripe's dashboard. */
const RESOURCES: Record<Resource, { many: string; one: string; dashboard?: string }> = {
  'balance-transactions': { many: 'Balance transactions', one: 'Balance transaction' },
  charges: { many: 'Charges', one: 'Charge', dashboard: 'payments' },
  'checkout-sessions': { many: 'Checkout sessions', one: 'Checkout session' },
  coupons: { many: 'Coupons', one: 'Coupon', dashboard: 'coupons' },
  customers: { many: 'Customers', one: 'Customer', dashboard: 'customers' },
  disputes: { many: 'Disputes', one: 'Dispute', dashboard: 'disputes' },
  invoices: { many: 'Invoices', one: 'Invoice', dashboard: 'invoices' },
  'payment-intents': { many: 'Payment intents', one: 'Payment intent', dashboard: 'payments' },
  'payment-methods': { many: 'Payment methods', one: 'Payment method' },
  payouts: { many: 'Payouts', one: 'Payout', dashboard: 'payouts' },
  plans: { many: 'Plans', one: 'Plan' },
  prices: { many: 'Prices', one: 'Price', dashboard: 'prices' },
  products: { many: 'Products', one: 'Product', dashboard: 'products' },
  'promotion-codes': { many: 'Promotion codes', one: 'Promotion code' },
  refunds: { many: 'Refunds', one: 'Refund' },
  'setup-intents': { many: 'Setup intents', one: 'Setup intent' },
  subscriptions: { many: 'Subscriptions', one: 'Subscription', dashboard: 'subscriptions' },
}

export const RESOURCE_OPTIONS = Object.entries(RESOURCES).map(([key, { many }]) => ({
  key: key as Resource,
  label: many,
}))

export const isResource = (text: string): text is Resource => text in RESOURCES

/** `Payment intents`; a resource of a later release as it is. */
export const nameOfMany = (resource: string): string =>
  isResource(resource) ? RESOURCES[resource].many : resource

export const nameOfOne = (resource: Resource): string => RESOURCES[resource].one

const PREFIXES: Record<string, Resource> = {
  ch: 'charges',
  cs: 'checkout-sessions',
  cus: 'customers',
  dp: 'disputes',
  du: 'disputes',
  in: 'invoices',
  pi: 'payment-intents',
  pm: 'payment-methods',
  po: 'payouts',
  price: 'prices',
  prod: 'products',
  promo: 'promotion-codes',
  py: 'charges',
  pyr: 'refunds',
  re: 'refunds',
  seti: 'setup-intents',
  sub: 'subscriptions',
  txn: 'balance-transactions',
}

/** The ids that Stripe makes, as far as the mirror has their objects. Coupons and plans have names of people. */
export const STRIPE_ID = new RegExp(`\\b(${Object.keys(PREFIXES).join('|')})_[A-Za-z0-9_]{4,}`, 'g')

/** The resource of an id by its prefix; null if the mirror has no such objects. */
export function resourceOf(id: string): Resource | null {
  return PREFIXES[id.split('_')[0] ?? ''] ?? null
}

/** The page of an object in the console. */
export const pathOf = (resource: Resource, id: string): string =>
  `/stripe/${resource}/${encodeURIComponent(id)}`

/** The page of an object in Stripe's dashboard, or its search. */
export function dashboardLink(dashboard: string, resource: Resource, id: string): string {
  const { dashboard: folder } = RESOURCES[resource]
  const name = encodeURIComponent(id)
  return folder === undefined
    ? `${dashboard}/search?query=${name}`
    : `${dashboard}/${folder}/${name}`
}

/** The ids in an object, each once, with the name of the field that has it first. */
export function relatedIds(object: unknown, own: string): { field: string; id: string }[] {
  const found = new Map<string, string>()
  function walk(value: unknown, field: string): void {
    if (typeof value === 'string') {
      const isId = value.match(STRIPE_ID)?.[0] === value
      if (isId && value !== own && !found.has(value)) found.set(value, field)
    } else if (Array.isArray(value)) {
      for (const each of value) walk(each, field)
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, each] of Object.entries(value)) walk(each, name === 'id' ? field : name)
    }
  }
  walk(object, '')
  return [...found].map(([id, field]) => ({ id, field }))
}

type Row = { [column: string]: unknown }

const textIn = (row: Row, ...columns: string[]): string | undefined =>
  columns.map((column) => row[column]).find((value) => typeof value === 'string' && value !== '') as
    | string
    | undefined

/** What people know an object by: its amount, name and state. */
export function summaryOf(row: Row): string {
  const { amount, amount_total: total, unit_amount: price, amount_paid: paid } = row
  const money = [amount, total, price, paid].find((value) => typeof value === 'number')
  const currency = textIn(row, 'currency')
  const parts = [
    money === undefined || currency === undefined ? undefined : formatStripeMoney(money, currency),
    textIn(row, 'name', 'email', 'code', 'brand', 'description', 'reason'),
    textIn(row, 'status')?.replaceAll('_', ' '),
  ]
  return parts.filter((part) => part !== undefined).join(' · ')
}
