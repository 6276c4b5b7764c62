import type { z } from 'zod'
import type { Tx } from '../../../db/connect.ts'
import { toTimestamp } from '../../../http/common-schemas.ts'
import type { Charge, ChargeRef } from './charge.ts'
import { type ChargeAttempt, latestAttempts } from './charge-attempt.ts'
import type { chargeSchema } from './charge-schemas.ts'
import { getCharge } from './charge-store.ts'

export type ChargeBody = z.infer<typeof chargeSchema>

/** The API's objects of charges, in a fixed number of queries. */
export async function viewCharges(
  trx: Tx,
  conferenceId: string,
  charges: readonly Charge[],
): Promise<ChargeBody[]> {
  const attempts = await latestAttempts(
    trx,
    conferenceId,
    charges.map(({ id }) => id),
  )
  return charges.map((charge) => toBody(charge, attempts.get(charge.id)))
}

/** @throws AppError `not_found` */
export async function viewCharge(trx: Tx, ref: ChargeRef): Promise<ChargeBody> {
  const [body] = await viewCharges(trx, ref.conferenceId, [await getCharge(trx, ref)])
  if (body === undefined) throw new Error(`Charge ${ref.chargeId} has no view`)
  return body
}

function toBody(charge: Charge, last: ChargeAttempt | undefined): ChargeBody {
  return {
    id: charge.id,
    object: 'charge',
    customer: charge.customerId,
    sponsor: charge.sponsorId,
    status: charge.status,
    amount: charge.amount,
    currency: charge.currency,
    amount_received: charge.amountReceived,
    amount_refunded: charge.amountRefunded,
    amount_refunding: charge.amountRefunding,
    description: charge.description,
    statement_descriptor_suffix: charge.statementDescriptorSuffix,
    comment: charge.comment,
    source_reference: charge.sourceReference,
    manual: charge.manual,
    payment_method: charge.paymentMethod,
    payment_intent: charge.paymentIntentId,
    failure: charge.failure,
    attempts: last?.attempt ?? 0,
    checkout: linkOf(last),
    created_by: charge.createdBy,
    created_at: toTimestamp(charge.createdAt),
    updated_at: toTimestamp(charge.updatedAt),
    succeeded_at: toTimestamp(charge.succeededAt),
  }
}

function linkOf(attempt: ChargeAttempt | undefined): ChargeBody['checkout'] {
  if (attempt?.state !== 'open' || attempt.sessionId === null || attempt.expiresAt === null) {
    return null
  }
  const { sessionId, url, expiresAt } = attempt
  return { session_id: sessionId, url, expires_at: toTimestamp(expiresAt) }
}
