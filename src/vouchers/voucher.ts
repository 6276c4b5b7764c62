import type { VoucherTerms } from './voucher-terms.ts'

export const VOUCHER_STATES = ['active', 'frozen', 'deactivated'] as const

/** `frozen`: a refund or dispute is open. A used-up voucher stays `active`. */
export type VoucherState = (typeof VOUCHER_STATES)[number]

/**
 * The normal form of a code, by which codes are compared: it ignores case, spaces and hyphens. The check
 * constraint `vouchers_code_key_normal` contains the same rule in SQL.
 */
export function codeKey(code: string): string {
  return code.replace(/[ -]/g, '').toUpperCase()
}

/** One voucher with the terms of its batch, and whether it could be redeemed when it was read. */
export type Voucher = Omit<VoucherTerms, 'prefix'> & {
  id: number
  /** Its number within the batch, from 1. */
  ordinal: number
  code: string
  batchId: string
  purchaseId: string | null
  state: VoucherState
  /** Null: it can be redeemed. */
  invalidReason: InvalidReason | null
  timesUsed: number
  /** Uses that are held now. */
  usesHeld: number
  ticketTypeId: string | null
  addOnId: string | null
  /** Null: no one. */
  assignedTo: Assignment | null
  createdAt: Date
}

/** The person to whom a voucher is assigned. */
export type Assignment = {
  email: string
  name: string | null
  assignedAt: Date
  /** When the mail server took the e-mail with the code. Null: it was not sent to this person. */
  sentAt: Date | null
}

/** Why a voucher cannot be redeemed, in the order in which the reasons are checked. */
export const INVALID_REASONS = [
  'deactivated',
  'frozen',
  'published',
  'used_up',
  'not_yet_valid',
  'expired',
] as const

export type InvalidReason = (typeof INVALID_REASONS)[number]

/**
 * SQL for the reason why voucher `v` of batch `b` cannot be redeemed now, or null. Look-ups and
 * redemptions both use it, so they always agree. The time is the database's at the start of the
 * statement and not of its transaction, which may have waited for a lock before.
 *
 * @param usesHeld SQL for the number of uses that are held.
 */
export const invalidReason = (usesHeld: string) => `case
  when v.deactivated_by is not null then 'deactivated'
  when v.held_by_refund or v.held_by_dispute then 'frozen'
  when b.published_at is not null then 'published'
  when v.times_used + ${usesHeld} >= v.max_uses then 'used_up'
  when b.valid_from > statement_timestamp() then 'not_yet_valid'
  when b.valid_until <= statement_timestamp() then 'expired'
end`

/**
 * SQL for the number of uses of voucher `v` that are held now. `uses_held` also counts holds that have ended but
 * are not marked yet (redemption-holds.ts).
 */
export const USES_HELD = `case when v.uses_held = 0 then 0 else v.uses_held - (
    select cast(count(*) as integer) from redemptions r
    where r.conference_id = v.conference_id and r.voucher_id = v.id
      and r.is_held and r.expires_at <= statement_timestamp()) end`

/** SQL for the reason why voucher `v` of batch `b` cannot be redeemed now, or null, for reads without a lock. */
export const INVALID_REASON = invalidReason(USES_HELD)

/** A voucher as the API and the NDJSON export show it. */
export function toVoucherBody(voucher: Voucher) {
  return {
    code: voucher.code,
    object: 'voucher' as const,
    batch: voucher.batchId,
    purchase: voucher.purchaseId,
    state: voucher.state,
    valid: voucher.invalidReason === null,
    invalid_reason: voucher.invalidReason,
    times_used: voucher.timesUsed,
    uses_held: voucher.usesHeld,
    max_uses: voucher.maxUses,
    valid_from: voucher.validFrom?.toISOString() ?? null,
    valid_until: voucher.validUntil?.toISOString() ?? null,
    voucher_type: voucher.voucherType,
    discount_value: voucher.discountValue,
    unlocks_hidden_tickets: voucher.unlocksHiddenTickets,
    ticket_type: voucher.ticketTypeId,
    add_on: voucher.addOnId,
    assigned_to: voucher.assignedTo && toAssignmentBody(voucher.assignedTo),
    created_at: voucher.createdAt.toISOString(),
  }
}

function toAssignmentBody({ email, name, assignedAt, sentAt }: Assignment) {
  return {
    email,
    name,
    assigned_at: assignedAt.toISOString(),
    sent_at: sentAt?.toISOString() ?? null,
  }
}
