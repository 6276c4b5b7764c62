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
export type PurchaseReportQuery = z.infer<typeof purchaseReportQuery>
export type VoucherReportQuery = z.infer<typeof voucherReportQuery>

/** Columns of the CSV forms, in their order. */
export const PURCHASE_COLUMNS = Object.keys(purchaseGroup.shape) as (keyof z.infer<
  typeof purchaseGroup
>)[]
export const VOUCHER_COLUMNS = Object.keys(voucherGroup.shape) as (keyof z.infer<
  typeof voucherGroup
>)[]
