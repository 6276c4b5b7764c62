import { getConference } from '../conferences/conference-store.ts'
import type { IssueComps } from '../sponsors/issue-comps.ts'
import { issueVouchers } from './issue-vouchers.ts'
import { DEFAULT_TERMS, sponsorPrefix } from './voucher-terms.ts'

/**
 * The complimentary codes of a sponsor's level: free entry once each, for hidden ticket types too.
 * Random like all others: a running number could be guessed from the public list of sponsors.
 */
export const issueComps: IssueComps = async (trx, order) => {
  const { codeLength, currency } = await getConference(trx, order.conferenceId)
  await issueVouchers(trx, {
    conferenceId: order.conferenceId,
    source: 'comp',
    purchaseId: null,
    sponsorId: order.sponsorId,
    count: order.count,
    codeLength,
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
