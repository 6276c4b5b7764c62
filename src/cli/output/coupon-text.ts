import { CURRENCIES, formatMoney, fromStripeAmount, toStripeAmount } from '../../shared/money.ts'
import type { MirrorBody } from '../../stripe/sync/mirror-body.ts'
import { momentText } from './moment-text.ts'
import type { Column } from './table.ts'

const text = (value: unknown) => (typeof value === 'string' ? value : null)
const number = (value: unknown) => (typeof value === 'number' ? value : null)

/** `25 %` or `10.00 EUR`; null for a tombstone of which nothing else is known. */
function discountText(coupon: MirrorBody): string | null {
  const percent = number(coupon['percent_off'])
  if (percent !== null) return `${percent} %`
  const amount = number(coupon['amount_off'])
  const currency = text(coupon['currency'])?.toUpperCase()
  if (amount === null || currency === undefined) return null
  // The dashboard may make what we could not: a list must show it all the same.
  const isKnown = CURRENCIES.includes(currency) && amount % toStripeAmount(1, currency) === 0
  return isKnown
    ? formatMoney(fromStripeAmount(amount, currency), currency)
    : `${amount} ${currency} (in Stripe's units)`
}

function durationText(coupon: MirrorBody): string | null {
  const months = number(coupon['duration_in_months'])
  return months === null ? text(coupon['duration']) : `${months} months`
}

function usesText(coupon: MirrorBody): string | null {
  const used = number(coupon['times_redeemed'])
  if (used === null) return null
  const most = number(coupon['max_redemptions'])
  return most === null ? String(used) : `${used}/${most}`
}

function stateText(coupon: MirrorBody): string {
  if (coupon.deleted_at !== null) return 'deleted'
  return coupon['valid'] === true ? 'valid' : 'not valid'
}

const endText = (coupon: MirrorBody) => momentText(text(coupon['redeem_by']))

export const COUPON_COLUMNS: readonly Column<MirrorBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'NAME', cell: (coupon) => text(coupon['name']) },
  { head: 'OFF', cell: discountText, align: 'right' },
  { head: 'DURATION', cell: durationText },
  { head: 'USED', cell: usesText, align: 'right' },
  { head: 'UNTIL (UTC)', cell: endText },
  {
    head: 'STATE',
    cell: stateText,
    paint: (coupon, paint) => (stateText(coupon) === 'valid' ? paint.green : paint.dim),
  },
]

export function couponFields(coupon: MirrorBody): (readonly [string, string | number | null])[] {
  return [
    ['coupon', coupon.id],
    ['name', text(coupon['name'])],
    ['off', discountText(coupon)],
    ['duration', durationText(coupon)],
    ['used', usesText(coupon)],
    ['until', endText(coupon)],
    ['state', stateText(coupon)],
  ]
}
