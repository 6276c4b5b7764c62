import type { Tx } from '../../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../../db/pages.ts'
import { isUniqueViolation } from '../../db/pg-errors.ts'
import { AppError, notFound } from '../../shared/errors.ts'

/**
 * - `open`: there was no payment attempt, or the outcome of one is unknown.
 * - `processing`: a bank debit is in progress.
 * - `declined`: the last attempt failed. Only staff start another one.
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
  appliedTicket: number
  createdBy: string
  createdAt: Date
  updatedAt: Date
  succeededAt: Date | null
}

export type ChargeRow = {
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
  applied_ticket: number
  created_by: string
  created_at: Date
  updated_at: Date
  succeeded_at: Date | null
}

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
  | 'created_by'
>

export function toCharge(row: ChargeRow): Charge {
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
    appliedTicket: row.applied_ticket,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    succeededAt: row.succeeded_at,
  }
}

const chargeKey = ({ conferenceId, chargeId }: ChargeRef) => ({
  conference_id: conferenceId,
  id: chargeId,
})

/** @throws AppError `already_exists` for a source reference in use. */
export async function insertCharge(trx: Tx, charge: NewChargeRow): Promise<void> {
  try {
    await trx('charges').insert(charge)
  } catch (error) {
    if (!isUniqueViolation(error, 'charges_source_reference_key')) throw error
    const detail = `A charge with the source_reference "${charge.source_reference ?? ''}" already exists.`
    throw new AppError('already_exists', detail, {
      errors: [{ pointer: '/source_reference', detail: 'is used by another charge' }],
    })
  }
}

export async function findCharge(trx: Tx, ref: ChargeRef): Promise<Charge | null> {
  const row = await trx('charges').where(chargeKey(ref)).first<ChargeRow | undefined>()
  return row === undefined ? null : toCharge(row)
}

/** @throws AppError `not_found` */
export async function getCharge(trx: Tx, ref: ChargeRef): Promise<Charge> {
  const charge = await findCharge(trx, ref)
  if (charge === null) throw notFound('charge')
  return charge
}

/** Locks the charge's row. Every change of a charge or of its attempts begins with this. */
export async function lockCharge(trx: Tx, ref: ChargeRef): Promise<Charge> {
  const row = await trx('charges').where(chargeKey(ref)).forUpdate().first<ChargeRow | undefined>()
  if (row === undefined) throw notFound('charge')
  return toCharge(row)
}

type Changes = {
  [Column in keyof ChargeRow]?: ChargeRow[Column]
}

export async function updateCharge(trx: Tx, ref: ChargeRef, changes: Changes): Promise<void> {
  await trx('charges')
    .where(chargeKey(ref))
    .update({ ...changes, updated_at: trx.fn.now() })
}

export type ChargeFilter = {
  status?: ChargeStatus | undefined
  sponsorId?: string | undefined
  sourceReference?: string | undefined
  manual?: boolean | undefined
}

export function listCharges(
  trx: Tx,
  conferenceId: string,
  filter: ChargeFilter,
  page: PageQuery,
): Promise<Page<ChargeRow>> {
  const query = trx('charges').where({ conference_id: conferenceId })
  if (filter.status !== undefined) void query.where({ status: filter.status })
  if (filter.sponsorId !== undefined) void query.where({ sponsor_id: filter.sponsorId })
  if (filter.manual !== undefined) void query.where({ manual: filter.manual })
  if (filter.sourceReference !== undefined) {
    void query.where({ source_reference: filter.sourceReference })
  }
  return fetchPage(query.select('charges.*'), page)
}

/** The charges for `charges:run`: open and not manual, oldest first. */
export async function openCharges(trx: Tx, conferenceId: string): Promise<Charge[]> {
  const rows = await trx('charges')
    .where({ conference_id: conferenceId, status: 'open', manual: false })
    .orderBy(['created_at', 'id'])
    .select<ChargeRow[]>('*')
  return rows.map(toCharge)
}
