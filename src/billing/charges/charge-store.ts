import { DATABASE_NOW_SQL, type Tx } from '../../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../../db/pages.ts'
import { isUniqueViolation } from '../../db/pg-errors.ts'
import { runInOrder } from '../../db/pipeline.ts'
import type { TakenTicket } from '../../payments/fetch-owned-snapshot.ts'
import type { PaymentOwner, PaymentRecords } from '../../payments/payment-records.ts'
import {
  type PaymentRecordsRow,
  paymentRecordsOf,
  toPaymentRecords,
} from '../../payments/payment-store.ts'
import { AppError, notFound } from '../../shared/errors.ts'

/**
 * - `open`: there was no payment attempt, or the outcome of one is unknown.
 * - `processing`: a bank debit is in progress, or a payment of another amount or currency arrived: staff
 *   refund it.
 * - `declined`: the last attempt failed, or Stripe refused it finally. Only staff start another one.
 * - `requires_action`: the bank requires the payer to authenticate, on the charge's Checkout page.
 */
export const CHARGE_STATUSES = [
  'open',
  'processing',
  'requires_action',
  'declined',
  'succeeded',
  'refunded',
  'canceled',
] as const

export type ChargeStatus = (typeof CHARGE_STATUSES)[number]

export type ChargeRef = { conferenceId: string; chargeId: string }

/** Amounts in minor units of `currency`. */
export type Charge = {
  conferenceId: string
  id: string
  customerId: string
  sponsorId: string
  status: ChargeStatus
  amount: number
  currency: string
  description: string
  statementDescriptorSuffix: string | null
  comment: string | null
  /** A reference in another system, unique among the conference's charges. */
  sourceReference: string | null
  /** True: `charges:run` skips it. */
  manual: boolean
  /** Charged when an attempt names no payment method; null: the customer's default. */
  paymentMethod: string | null
  /** Where the payer returns to from a Checkout page that the service opens by itself. */
  successUrl: string | null
  cancelUrl: string | null
  amountReceived: number
  amountRefunded: number
  amountRefunding: number
  /** The payment intent that paid the charge. */
  paymentIntentId: string | null
  failure: { code: string; message: string } | null
  /** The caller's own entries. */
  metadata: Record<string, string>
  appliedTicket: number
  createdBy: string
  createdAt: Date
  updatedAt: Date
  succeededAt: Date | null
}

/** Whether it was paid, also if the money went back. */
export function isPaid({ status }: Pick<Charge, 'status'>): boolean {
  return status === 'succeeded' || status === 'refunded'
}

/** A charge with everything that decisions about it depend on. */
export type ChargeAggregate = { charge: Charge; records: PaymentRecords }

/** Names the charge as the owner of its payments. */
export const ownerOf = ({ conferenceId, chargeId }: ChargeRef): PaymentOwner => ({
  conferenceId,
  kind: 'charge',
  id: chargeId,
})

type ChargeRow = {
  conference_id: string
  id: string
  customer_id: string
  sponsor_id: string
  status: ChargeStatus
  amount: number
  currency: string
  description: string
  statement_descriptor_suffix: string | null
  comment: string | null
  source_reference: string | null
  manual: boolean
  payment_method: string | null
  success_url: string | null
  cancel_url: string | null
  amount_received: number
  amount_refunded: number
  amount_refunding: number
  payment_intent_id: string | null
  failure_code: string | null
  failure_message: string | null
  metadata: Record<string, string>
  applied_ticket: number
  created_by: string
  created_at: Date
  updated_at: Date
  succeeded_at: Date | null
}

const CHARGE_COLUMNS = [
  'conference_id',
  'id',
  'customer_id',
  'sponsor_id',
  'status',
  'amount',
  'currency',
  'description',
  'statement_descriptor_suffix',
  'comment',
  'source_reference',
  'manual',
  'payment_method',
  'success_url',
  'cancel_url',
  'amount_received',
  'amount_refunded',
  'amount_refunding',
  'payment_intent_id',
  'failure_code',
  'failure_message',
  'metadata',
  'applied_ticket',
  'created_by',
  'created_at',
  'updated_at',
  'succeeded_at',
] as const satisfies readonly (keyof ChargeRow)[]

type NewChargeRow = Pick<
  ChargeRow,
  | 'conference_id'
  | 'id'
  | 'customer_id'
  | 'sponsor_id'
  | 'amount'
  | 'currency'
  | 'description'
  | 'statement_descriptor_suffix'
  | 'comment'
  | 'source_reference'
  | 'manual'
  | 'payment_method'
  | 'success_url'
  | 'cancel_url'
  | 'metadata'
  | 'created_by'
>

function toCharge(row: ChargeRow): Charge {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    customerId: row.customer_id,
    sponsorId: row.sponsor_id,
    status: row.status,
    amount: row.amount,
    currency: row.currency,
    description: row.description,
    statementDescriptorSuffix: row.statement_descriptor_suffix,
    comment: row.comment,
    sourceReference: row.source_reference,
    manual: row.manual,
    paymentMethod: row.payment_method,
    successUrl: row.success_url,
    cancelUrl: row.cancel_url,
    amountReceived: row.amount_received,
    amountRefunded: row.amount_refunded,
    amountRefunding: row.amount_refunding,
    paymentIntentId: row.payment_intent_id,
    failure:
      row.failure_code === null
        ? null
        : { code: row.failure_code, message: row.failure_message ?? row.failure_code },
    metadata: row.metadata,
    appliedTicket: row.applied_ticket,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    succeededAt: row.succeeded_at,
  }
}

/** @throws AppError `already_exists` for a source reference in use. */
export async function insertCharge(trx: Tx, charge: NewChargeRow): Promise<void> {
  try {
    await trx('charges').insert({ ...charge, metadata: JSON.stringify(charge.metadata) })
  } catch (error) {
    if (!isUniqueViolation(error, 'charges_source_reference_key')) throw error
    const detail = `A charge with the source_reference "${charge.source_reference ?? ''}" already exists.`
    throw new AppError('already_exists', detail, {
      errors: [{ pointer: '/source_reference', detail: 'is used by another charge' }],
    })
  }
}

type AggregateRow = ChargeRow & { records: PaymentRecordsRow }

const toAggregate = ({ records, ...row }: AggregateRow): ChargeAggregate => ({
  charge: toCharge(row),
  records: toPaymentRecords(records),
})

/** Charges with their payment records, in one statement. */
const aggregates = (trx: Tx, conferenceId: string) =>
  trx('charges')
    .where({ conference_id: conferenceId })
    .select([...CHARGE_COLUMNS, trx.raw(`${paymentRecordsOf('charges')} as records`)])

/** The charge without a lock, or null. */
export async function findCharge(trx: Tx, ref: ChargeRef): Promise<ChargeAggregate | null> {
  const row = await aggregates(trx, ref.conferenceId)
    .where({ id: ref.chargeId })
    .first<AggregateRow | undefined>()
  return row === undefined ? null : toAggregate(row)
}

/** The charge without a lock. @throws AppError `not_found` */
export async function getCharge(trx: Tx, ref: ChargeRef): Promise<ChargeAggregate> {
  const found = await findCharge(trx, ref)
  if (found === null) throw notFound('charge')
  return found
}

/**
 * Locks the charge until the transaction ends, then loads it: in one statement, the rows of its payments
 * would be those from before the wait for the lock. Every change of a charge begins with this.
 *
 * @throws AppError `not_found`
 */
export async function lockCharge(trx: Tx, ref: ChargeRef): Promise<ChargeAggregate> {
  const isThis = { conference_id: ref.conferenceId, id: ref.chargeId }
  const [, [row]] = await runInOrder<[unknown[], AggregateRow[]]>(trx, [
    trx('charges').where(isThis).forUpdate().select('id'),
    aggregates(trx, ref.conferenceId).where({ id: ref.chargeId }),
  ])
  if (row === undefined) throw notFound('charge')
  return toAggregate(row)
}

/** Takes the next ticket of a reconcile, then reads the records. Null: no such charge. */
export async function takeChargeTicket(trx: Tx, ref: ChargeRef): Promise<TakenTicket | null> {
  const isThis = { conference_id: ref.conferenceId, id: ref.chargeId }
  const [[taken], [row]] = await runInOrder<[Omit<TakenTicket, 'records'>[], AggregateRow[]]>(trx, [
    trx('charges')
      .where(isThis)
      .increment('reconcile_ticket', 1)
      .returning(['reconcile_ticket as ticket', trx.raw(`${DATABASE_NOW_SQL} as "takenAt"`)]),
    aggregates(trx, ref.conferenceId).where({ id: ref.chargeId }),
  ])
  if (taken === undefined || row === undefined) return null
  return { ...taken, records: toAggregate(row).records }
}

export type ChargeFilter = {
  status?: ChargeStatus | undefined
  sponsorId?: string | undefined
  sourceReference?: string | undefined
  manual?: boolean | undefined
}

export async function listCharges(
  trx: Tx,
  conferenceId: string,
  filter: ChargeFilter,
  page: PageQuery,
): Promise<Page<ChargeAggregate>> {
  const query = aggregates(trx, conferenceId)
  if (filter.status !== undefined) void query.where({ status: filter.status })
  if (filter.sponsorId !== undefined) void query.where({ sponsor_id: filter.sponsorId })
  if (filter.manual !== undefined) void query.where({ manual: filter.manual })
  if (filter.sourceReference !== undefined) {
    void query.where({ source_reference: filter.sourceReference })
  }
  const found = await fetchPage<AggregateRow>(query, page)
  return { ...found, data: found.data.map(toAggregate) }
}

/** The ids of the charges for `charges:run`: open and not manual, oldest first. */
export async function openChargeIds(trx: Tx, conferenceId: string): Promise<string[]> {
  return trx('charges')
    .where({ conference_id: conferenceId, status: 'open', manual: false })
    .orderBy(['created_at', 'id'])
    .pluck<string[]>('id')
}

/** How many charges `charges:run` leaves to staff: an earlier attempt failed. */
export async function countFailedCharges(trx: Tx, conferenceId: string): Promise<number> {
  const [row] = await trx('charges')
    .where({ conference_id: conferenceId, manual: false })
    .whereIn('status', ['declined', 'requires_action'])
    .count<{ count: number }[]>('id as count')
  return row?.count ?? 0
}
