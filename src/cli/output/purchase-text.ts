import type { PurchaseBody } from '../../purchases/purchase-view.ts'
import { formatMoney } from '../../shared/money.ts'
import { momentText } from './moment-text.ts'
import type { Paint } from './paint.ts'
import type { Column } from './table.ts'

const STATUS_STYLE = {
  PENDING: 'dim',
  PROCESSING: 'cyan',
  PAID: 'green',
  FAILED: 'red',
  REFUNDED: 'yellow',
} as const satisfies Record<PurchaseBody['status'], keyof Paint>

export function paintStatus(status: PurchaseBody['status'], paint: Paint) {
  return paint[STATUS_STYLE[status]]
}

const flagsOf = ({ flags }: PurchaseBody) => flags.map(({ code }) => code).join(',')

const codesOf = ({ vouchers: { active, issued } }: PurchaseBody) =>
  issued === 0 ? null : `${active}/${issued}`

/** @param sponsors names by id, for people; a page has the ids only. */
export function purchaseColumns(
  sponsors: ReadonlyMap<string, string>,
): readonly Column<PurchaseBody>[] {
  return [
    { head: 'ID', cell: ({ id }) => id },
    {
      head: 'STATUS',
      cell: ({ status }) => status,
      paint: ({ status }, paint) => paintStatus(status, paint),
    },
    { head: 'SPONSOR', cell: ({ sponsor }) => sponsors.get(sponsor ?? '') ?? sponsor },
    { head: 'QTY', cell: ({ quantity }) => quantity, align: 'right' },
    {
      head: 'TOTAL',
      cell: ({ total_amount, currency }) => formatMoney(total_amount, currency),
      align: 'right',
    },
    { head: 'CODES', cell: codesOf, align: 'right' },
    { head: 'FLAGS', cell: flagsOf, paint: (_row, paint) => paint.yellow },
    { head: 'CREATED (UTC)', cell: ({ created_at }) => momentText(created_at) },
    { head: 'FOR', cell: ({ description }) => description },
  ]
}

/** A purchase line by line. */
export function purchaseFields(body: PurchaseBody) {
  const money = (amount: number) => formatMoney(amount, body.currency)
  const { vouchers: codes } = body
  return [
    ['id', body.id],
    ['status', body.status],
    ['conference', body.conference],
    ['sponsor', body.sponsor],
    ['for', body.description],
    ['reference', body.reference],
    ['price', `${body.quantity} × ${money(body.unit_amount)} = ${money(body.total_amount)}`],
    ['received', money(body.amount_received)],
    ['refunded', money(body.amount_refunded)],
    ['payment intent', body.payment_intent],
    ['failure', body.failure === null ? null : `${body.failure.code}: ${body.failure.message}`],
    [
      'codes',
      `${codes.issued} issued: ${codes.active} active, ${codes.frozen} frozen, ` +
        `${codes.deactivated} deactivated; ${codes.redeemed} redeemed, ${codes.remaining} remaining`,
    ],
    ['flags', body.flags.map(({ code, detail }) => `${code} (${detail})`).join('; ')],
    ['possible now', body.allowed_actions.join(', ')],
    ['created (UTC)', momentText(body.created_at)],
    ['paid (UTC)', momentText(body.paid_at)],
    ['refunded (UTC)', momentText(body.refunded_at)],
  ] as const
}

/** The latest checkout of a purchase line by line. */
export function checkoutFields(checkout: NonNullable<PurchaseBody['checkout']>) {
  return [
    ['attempt', checkout.attempt],
    ['session', checkout.session_id],
    ['expires (UTC)', momentText(checkout.expires_at)],
    ['address', checkout.url],
  ] as const
}
