import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { assertReturnUrls, type ReturnUrls } from '../../payments/payable.ts'
import type { Caller } from '../../shared/caller.ts'
import { AppError, invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { chargeProblem } from '../../shared/money.ts'
import { findSponsor } from '../../sponsors/sponsor-store.ts'
import { type CustomerRef, getCustomer, obtainCustomerRow } from '../customers/customer-store.ts'
import { insertCharge } from './charge-store.ts'

export type NewCharge = {
  owner: { customer: string } | { sponsor: string }
  /** Minor units of the conference's currency. */
  amount: number
  description: string
  statementDescriptorSuffix: string | null
  comment: string | null
  sourceReference: string | null
  manual: boolean
  paymentMethod: string | null
  urls: ReturnUrls | null
  metadata: Record<string, string>
}

/**
 * Creates a charge without charging anything yet.
 *
 * @returns its id.
 * @throws AppError `validation_failed`; `already_exists` when the source reference is in use.
 */
export async function createCharge(
  trx: Tx,
  { ownOrigin }: { ownOrigin: string },
  caller: Caller,
  input: NewCharge,
): Promise<string> {
  const { conferenceId } = caller
  const conference = await getConference(trx, conferenceId)
  const problem = chargeProblem(input.amount, conference.currency)
  if (problem !== null) throw invalidField('/amount', problem)
  if (input.urls !== null) assertReturnUrls(input.urls, conference, ownOrigin)
  const owner = await ownerOf(trx, caller, input.owner)
  const id = newId('charge')
  await insertCharge(trx, {
    conference_id: conferenceId,
    id,
    customer_id: owner.customerId,
    sponsor_id: owner.sponsorId,
    amount: input.amount,
    currency: conference.currency,
    description: input.description,
    statement_descriptor_suffix: input.statementDescriptorSuffix,
    comment: input.comment,
    source_reference: input.sourceReference,
    manual: input.manual,
    payment_method: input.paymentMethod,
    success_url: input.urls?.successUrl ?? null,
    cancel_url: input.urls?.cancelUrl ?? null,
    metadata: input.metadata,
    created_by: caller.actor.id,
  })
  return id
}

async function ownerOf(
  trx: Tx,
  { conferenceId, actor }: Caller,
  owner: NewCharge['owner'],
): Promise<CustomerRef & { sponsorId: string }> {
  if ('customer' in owner) {
    const ref = { conferenceId, customerId: owner.customer }
    try {
      const { id, sponsorId } = await getCustomer(trx, ref)
      return { conferenceId, customerId: id, sponsorId }
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'not_found')) throw error
      throw invalidField('/customer', `This conference has no customer "${owner.customer}".`)
    }
  }
  const sponsor = await findSponsor(trx, conferenceId, owner.sponsor)
  if (sponsor === null)
    throw invalidField('/sponsor', `This conference has no sponsor "${owner.sponsor}".`)
  const customerId = await obtainCustomerRow(trx, conferenceId, sponsor, actor.id)
  return { conferenceId, customerId, sponsorId: sponsor.id }
}
