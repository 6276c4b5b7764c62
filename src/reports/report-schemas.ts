import { z } from 'zod'
import { PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import { moment, timestamp } from '../shared/time.ts'

const range = {
  created_after: moment.optional(),
  created_before: moment.optional(),
}

export const purchaseReportQuery = z.strictObject({
  group_by: z.enum(['status', 'sponsor', 'day']).default('status'),
  status: z
    .enum(PURCHASE_STATUSES)
    .optional()
    .meta({ description: 'Only purchases with this status.' }),
  ...range,
})

export const voucherReportQuery = z.strictObject({
  group_by: z.enum(['status', 'source', 'sponsor', 'day']).default('status').meta({
    description: '`status`: the status of the purchase. `source`: purchase, staff or comp.',
  }),
  ...range,
})

const reportDay = z.iso
  .date()
  .max(10)
  .refine((day) => day >= '1970-01-01', 'must not be before 1970')

export const reportDaysQuery = z.strictObject({
  from: reportDay.optional().meta({
    description: 'The first day (UTC), at most 365 days before `to`. Default: 29 days before `to`.',
  }),
  to: reportDay.optional().meta({ description: 'The last day (UTC). Default: today.' }),
})

export const moneyReportQuery = reportDaysQuery.extend({
  group_by: z.enum(['day', 'item', 'day_and_item']).default('day').meta({
    description: '`item`: by ticket type or add-on.',
  }),
})

const group = z.string().nullable().meta({
  description:
    'The status, the source, the id of the sponsor, or the day of creation (UTC). Null: no purchase or no sponsor.',
})
const name = z
  .string()
  .nullable()
  .meta({ description: 'The name of the sponsor, if grouped by sponsor.' })
const sum = (description: string) => z.int().meta({ description })

const purchaseSums = {
  currency: z.string(),
  count: sum('Number of purchases.'),
  quantity: sum('Number of vouchers ordered.'),
  total_amount: z.int(),
  amount_received: z.int(),
  amount_refunded: z.int(),
  recorded_received: sum('The part of amount_received that came outside Stripe.'),
  recorded_refunded: sum('The part of amount_refunded that was booked, not sent by Stripe.'),
}

const voucherSums = {
  batches: sum('Number of batches with vouchers: of purchases, staff and sponsor levels.'),
  issued: sum('Number of vouchers.'),
  active: sum('Number of vouchers.'),
  frozen: sum('Number of vouchers.'),
  deactivated: sum('Number of vouchers.'),
  redeemed: sum('Vouchers used at least once.'),
  uses: sum('Uses of all vouchers.'),
  remaining: sum('Active vouchers that have uses left.'),
}

const purchaseTotals = z.object(purchaseSums).meta({ id: 'PurchaseReportTotals' })
const voucherTotals = z.object(voucherSums).meta({ id: 'VoucherReportTotals' })
const purchaseGroup = z.object({ group, name, ...purchaseSums }).meta({ id: 'PurchaseReportGroup' })
const voucherGroup = z.object({ group, name, ...voucherSums }).meta({ id: 'VoucherReportGroup' })

export const purchaseReportSchema = z
  .object({
    object: z.literal('purchase_report'),
    group_by: z.string(),
    data: z.array(purchaseGroup),
    totals: z.array(purchaseTotals).meta({ description: 'One per currency.' }),
  })
  .meta({ id: 'PurchaseReport' })

export const voucherReportSchema = z
  .object({
    object: z.literal('voucher_report'),
    group_by: z.string(),
    data: z.array(voucherGroup),
    totals: voucherTotals,
  })
  .meta({ id: 'VoucherReport' })

const moneySums = {
  currency: z.string(),
  payments: sum('Number of payments.'),
  refunds: sum(
    'Number of refunds. A refund that fails later is subtracted on the day of its failure.',
  ),
  received: sum('Payments by Stripe and recorded payments.'),
  refunded: sum('Refunds that succeeded.'),
  lost: sum('Money that lost disputes took.'),
  net: sum('received − refunded − lost'),
  recorded_received: sum('The part of received that came outside Stripe.'),
  recorded_refunded: sum('The part of refunded that was booked, not sent by Stripe.'),
}
const moneyTotals = z.object(moneySums).meta({ id: 'MoneyReportTotals' })
const moneyGroup = z
  .object({
    day: z.string().nullable().meta({ description: 'The day (UTC). Null if not grouped by day.' }),
    item: z.string().nullable().meta({
      description:
        'Id of the ticket type or add-on. Null if the purchase has neither, or if not grouped by item.',
    }),
    item_name: z.string().nullable(),
    ...moneySums,
  })
  .meta({ id: 'MoneyReportGroup' })

const days = {
  time_zone: z.string().meta({ description: 'The time zone of the days.' }),
  from: z.string(),
  to: z.string().meta({ description: 'The last day, included.' }),
}

export const moneyReportSchema = z
  .object({
    object: z.literal('money_report'),
    group_by: z.string(),
    ...days,
    data: z.array(moneyGroup),
    totals: z.array(moneyTotals).meta({ description: 'One per currency.' }),
  })
  .meta({ id: 'MoneyReport' })

const issueTimes = {
  source: z.enum(['stripe', 'recorded']).meta({
    description:
      '`stripe`: paid through Stripe. `recorded`: paid outside Stripe; the time begins at the payment date that staff recorded.',
  }),
  count: sum('Number of purchases.'),
  p50: sum('Seconds. Half of the purchases took no longer.'),
  p95: sum('Seconds. 95 of 100 purchases took no longer.'),
  max: sum('Seconds.'),
}
const issueTimeTotals = z.object(issueTimes).meta({ id: 'IssueTimeReportTotals' })
const issueTimeGroup = z
  .object({ day: z.string().meta({ description: 'The day of the payment (UTC).' }), ...issueTimes })
  .meta({ id: 'IssueTimeReportGroup' })

export const issueTimeReportSchema = z
  .object({
    object: z.literal('issue_time_report'),
    ...days,
    data: z.array(issueTimeGroup),
    totals: z.array(issueTimeTotals).meta({ description: 'One per source.' }),
  })
  .meta({ id: 'IssueTimeReport' })

export const purchaseDocumentsSchema = z
  .object({
    data: z.array(
      z
        .object({
          object: z.literal('purchase_document'),
          kind: z.enum(['receipt', 'invoice']),
          number: z.string().nullable().meta({ description: "Stripe's number of the document." }),
          url: z.string().meta({ description: 'A page of Stripe that shows the document.' }),
          pdf: z.string().nullable().meta({ description: 'Invoices only.' }),
          amount: z.int(),
          currency: z.string(),
          created_at: timestamp,
        })
        .meta({ id: 'PurchaseDocument' }),
    ),
  })
  .meta({ id: 'PurchaseDocumentList' })

export type PurchaseDocument = z.infer<typeof purchaseDocumentsSchema>['data'][number]
export type PurchaseReport = z.infer<typeof purchaseReportSchema>
export type VoucherReport = z.infer<typeof voucherReportSchema>
export type MoneyReport = z.infer<typeof moneyReportSchema>
export type IssueTimeReport = z.infer<typeof issueTimeReportSchema>
export type ReportDaysQuery = z.infer<typeof reportDaysQuery>
export type MoneyReportQuery = z.infer<typeof moneyReportQuery>
export type PurchaseReportQuery = z.infer<typeof purchaseReportQuery>
export type VoucherReportQuery = z.infer<typeof voucherReportQuery>

const columnsOf = <Shape extends z.ZodRawShape>({ shape }: z.ZodObject<Shape>) =>
  Object.keys(shape) as (keyof Shape & string)[]

/** Columns of the CSV forms, in their order. */
export const PURCHASE_COLUMNS = columnsOf(purchaseGroup)
export const VOUCHER_COLUMNS = columnsOf(voucherGroup)
export const MONEY_COLUMNS = columnsOf(moneyGroup)
export const ISSUE_TIME_COLUMNS = columnsOf(issueTimeGroup)
