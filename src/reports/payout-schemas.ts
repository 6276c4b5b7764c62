import { z } from 'zod'
import { conferenceParams, pageOf, pageQuery } from '../http/common-schemas.ts'
import { timestamp } from '../shared/time.ts'
import type { Item } from './itemise-money.ts'

const payoutId = z
  .string()
  .max(255)
  // Before 2017, payouts were transfers.
  .regex(/^(po|tr)_\w+$/, 'must be the id of a payout at Stripe (po_…)')

export const payoutParams = conferenceParams.extend({ payout: payoutId })

const STATUSES = ['pending', 'in_transit', 'paid', 'failed', 'canceled'] as const

const day = z.iso.date().max(10)

export const payoutQuery = z.strictObject({
  limit: pageQuery.limit,
  cursor: payoutId.optional().meta({ description: '`next_cursor` of the previous page.' }),
  status: z.enum(STATUSES).optional(),
  from: day.optional().meta({ description: 'The first day of arrival, in UTC.' }),
  to: day.optional().meta({ description: 'The last day of arrival, in UTC.' }),
})

const MAX_DAYS = 31
const DAY_MS = 24 * 60 * 60 * 1000

export const balanceQuery = z
  .strictObject({
    from: day.meta({ description: 'The first day, in UTC.' }),
    to: day.meta({ description: `The last day, in UTC. At most ${MAX_DAYS} days, both included.` }),
  })
  .refine(({ from, to }) => from <= to, { path: ['to'], message: 'must not be before from' })
  .refine(({ from, to }) => Date.parse(to) - Date.parse(from) < MAX_DAYS * DAY_MS, {
    path: ['to'],
    message: `must be at most ${MAX_DAYS - 1} days after from`,
  })

export type PayoutQuery = z.infer<typeof payoutQuery>
export type BalanceQuery = z.infer<typeof balanceQuery>

const payoutFields = {
  id: z.string(),
  object: z.literal('payout'),
  status: z.enum(STATUSES),
  automatic: z.boolean().meta({
    description:
      "True: created by Stripe's schedule. False: created by hand; Stripe does not list the money that it contains.",
  }),
  amount: z.int(),
  currency: z.string(),
  arrival_date: day,
  method: z.string(),
  description: z.string().nullable(),
  failure_code: z.string().nullable(),
  failure_message: z.string().nullable(),
  created_at: timestamp,
}

export const payoutPage = pageOf(z.object(payoutFields).meta({ id: 'Payout' })).meta({
  id: 'PayoutPage',
})
export const PAYOUT_COLUMNS = Object.keys(payoutFields)

const itemSchema = z
  .object({
    id: z.string().meta({ description: 'The balance transaction.' }),
    type: z.string().meta({ description: "Stripe's type." }),
    category: z.string().meta({ description: "Stripe's `reporting_category`." }),
    belongs_to: z.enum(['conference', 'payout', 'other']).meta({
      description:
        '`conference`: the entry belongs to a purchase, charge or subscription of the conference. `payout`: it is a payout itself: the returned money of a failed one, or a manual one. `other`: everything else.',
    }),
    purchase: z.string().nullable(),
    charge: z.string().nullable(),
    subscription: z.string().nullable(),
    sponsor: z.string().nullable(),
    sponsor_name: z.string().nullable(),
    payment_intent: z.string().nullable(),
    payout: z.string().nullable(),
    source: z.string().nullable().meta({ description: 'A charge, refund, dispute, payout, …' }),
    gross: z.int(),
    fee: z.int(),
    net: z.int().meta({ description: 'gross − fee.' }),
    currency: z.string().meta({ description: 'The currency of the balance.' }),
    customer_amount: z
      .int()
      .nullable()
      .meta({ description: 'The amount in the currency in which the customer paid.' }),
    customer_currency: z.string().nullable(),
    exchange_rate: z.number().nullable().meta({
      description: 'The rate at which Stripe converted the amount. Null if it was not converted.',
    }),
    available_at: timestamp,
    created_at: timestamp,
  })
  .meta({ id: 'BalanceItem' })

export const ITEM_COLUMNS = Object.keys(itemSchema.shape)

const sums = z
  .object({ count: z.int(), gross: z.int(), fee: z.int(), net: z.int() })
  .meta({ id: 'BalanceSums' })

const totals = z
  .object({ conference: sums, payout: sums, other: sums, all: sums })
  .meta({ id: 'BalanceTotals', description: 'Sums of the entries, by `belongs_to`.' })

const isOtherListed = z.boolean().meta({
  description:
    'False if other conferences share the Stripe account, or if there are more than 10,000 entries with `belongs_to: other`. Then `items` has none of these; they are only in the sums.',
})

const RECONCILED = ['agrees', 'differs', 'in_progress', 'not_itemised'] as const

export const payoutReportSchema = z
  .object({
    ...payoutFields,
    object: z.literal('payout_report'),
    reconciliation: z.enum(RECONCILED).meta({
      description:
        '`agrees`: the net sum of the entries equals the amount. `differs`: it does not. `in_progress`: Stripe has not listed all entries yet. `not_itemised`: a manual payout, whose entries Stripe does not list.',
    }),
    difference: z
      .int()
      .nullable()
      .meta({ description: '`amount` − net sum of all entries. Null for a manual payout.' }),
    detail: z.string(),
    totals,
    other_listed: isOtherListed,
    items: z.array(itemSchema).meta({ description: 'Newest first.' }),
  })
  .meta({ id: 'PayoutReport' })

export const balanceReportSchema = z
  .object({
    object: z.literal('balance_report'),
    from: day,
    to: day,
    time_zone: z.literal('UTC'),
    currencies: z.array(
      z.object({ currency: z.string(), totals }).meta({ id: 'BalanceOfCurrency' }),
    ),
    other_listed: isOtherListed,
    items: z.array(itemSchema).meta({ description: 'Newest first.' }),
  })
  .meta({ id: 'BalanceReport' })

export type PayoutBody = z.infer<typeof payoutPage>['data'][number]
export type PayoutReport = z.infer<typeof payoutReportSchema>
export type BalanceReport = z.infer<typeof balanceReportSchema>
export type ItemBody = z.infer<typeof itemSchema>

export const fromSeconds = (seconds: number) => new Date(seconds * 1000).toISOString()

export function toItemBody(item: Item): ItemBody {
  const { owner } = item
  const ownerId = (kind: string) => (owner?.kind === kind ? owner.id : null)
  return {
    id: item.id,
    type: item.type,
    category: item.category,
    belongs_to: item.belongsTo,
    purchase: ownerId('purchase'),
    charge: ownerId('charge'),
    subscription: ownerId('subscription'),
    sponsor: owner?.sponsor ?? null,
    sponsor_name: owner?.sponsorName ?? null,
    payment_intent: item.paymentIntent,
    payout: item.payout,
    source: item.source,
    gross: item.gross,
    fee: item.fee,
    net: item.net,
    currency: item.currency,
    customer_amount: item.customer?.amount ?? null,
    customer_currency: item.customer?.currency ?? null,
    exchange_rate: item.exchangeRate,
    available_at: fromSeconds(item.availableOn),
    created_at: fromSeconds(item.at),
  }
}

/** The lines of the CSV form. Entries that are only summed up are one line for each currency, so all lines add up. */
export function toItemLines(
  report: Pick<BalanceReport, 'items' | 'other_listed' | 'currencies'>,
): object[] {
  const { items, other_listed: isListed, currencies } = report
  if (isListed) return items
  const summed = currencies.flatMap(({ currency, totals: { other } }) =>
    other.count === 0 ? [] : [{ type: 'sum', belongs_to: 'other', currency, ...other }],
  )
  return [...items, ...summed]
}
