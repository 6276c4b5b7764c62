import { type CatalogKind, findCatalogItem } from '../catalog/catalog-items.ts'
import { getConference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { invalidField, invalidFields } from '../shared/errors.ts'
import type { IssueComps } from '../sponsors/manage-sponsors.ts'
import { findSponsor, type Sponsor } from '../sponsors/sponsor-store.ts'
import { issueVouchers } from './issue-vouchers.ts'
import { getBatch, type VoucherBatch } from './voucher-batch-store.ts'
import {
  DEFAULT_TERMS,
  defaultPrefix,
  mergeTerms,
  sponsorPrefix,
  type VoucherTermsInput,
  voucherTermsProblems,
} from './voucher-terms.ts'

export type StaffBatchInput = VoucherTermsInput & {
  count: number
  /** Id, slug or external id. */
  sponsor?: string | undefined
  ticket_type?: string | undefined
  add_on?: string | undefined
}

/**
 * Issues a batch of vouchers without a purchase.
 *
 * @param by the id of the API key, and the time that the terms are checked against.
 * @throws AppError `validation_failed` naming each field that breaks a rule.
 */
export async function createStaffBatch(
  trx: Tx,
  conferenceId: string,
  input: StaffBatchInput,
  by: { keyId: string; now: Date },
): Promise<VoucherBatch> {
  const conference = await getConference(trx, conferenceId)
  if (input.count > conference.maxQuantity) {
    throw invalidField(
      '/count',
      `must be at most ${conference.maxQuantity}: the limit of this conference`,
    )
  }
  if (input.ticket_type !== undefined && input.add_on !== undefined) {
    throw invalidField('/add_on', 'cannot be combined with ticket_type')
  }
  const sponsor = await sponsorOf(trx, conferenceId, input.sponsor)
  await assertItem(trx, conferenceId, 'ticket_type', input.ticket_type)
  await assertItem(trx, conferenceId, 'add_on', input.add_on)
  const prefix = defaultPrefix(sponsor?.slug ?? null, conference.codeLength)
  const terms = mergeTerms({ ...DEFAULT_TERMS, prefix }, input)
  const errors = voucherTermsProblems(terms, by.now)
  if (errors.length > 0) {
    throw invalidFields(errors)
  }
  const { batchId } = await issueVouchers(trx, {
    conferenceId,
    source: 'staff',
    purchaseId: null,
    sponsorId: sponsor?.id ?? null,
    count: input.count,
    currency: conference.currency,
    ticketTypeId: input.ticket_type ?? null,
    addOnId: input.add_on ?? null,
    terms,
    createdBy: by.keyId,
  })
  return getBatch(trx, conferenceId, batchId, null)
}

async function sponsorOf(
  trx: Tx,
  conferenceId: string,
  reference: string | undefined,
): Promise<Sponsor | null> {
  if (reference === undefined) return null
  const sponsor = await findSponsor(trx, conferenceId, reference)
  if (sponsor === null)
    throw invalidField('/sponsor', `This conference has no sponsor "${reference}".`)
  return sponsor
}

async function assertItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string | undefined,
): Promise<void> {
  if (id === undefined || (await findCatalogItem(trx, conferenceId, kind, id)) !== null) return
  throw invalidField(`/${kind}`, `This conference has no ${kind} "${id}".`)
}

/**
 * Issues the complimentary vouchers of a sponsor's level: free entry, once each, for hidden ticket types
 * too. Their codes are random like all others: numbers could be guessed from the public list of
 * sponsors.
 */
export const issueComps: IssueComps = async (trx, order) => {
  const { codeLength, currency } = await getConference(trx, order.conferenceId)
  await issueVouchers(trx, {
    conferenceId: order.conferenceId,
    source: 'comp',
    purchaseId: null,
    sponsorId: order.sponsorId,
    count: order.count,
    currency,
    ticketTypeId: null,
    addOnId: null,
    terms: {
      ...DEFAULT_TERMS,
      unlocksHiddenTickets: true,
      prefix: sponsorPrefix('COMP', order.sponsorSlug, codeLength),
    },
    createdBy: order.createdBy,
  })
}
