import type { Voucher } from './voucher.ts'

/** A voucher as the API and the NDJSON export spell it. */
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
    max_uses: voucher.maxUses,
    valid_from: voucher.validFrom?.toISOString() ?? null,
    valid_until: voucher.validUntil?.toISOString() ?? null,
    voucher_type: voucher.voucherType,
    discount_value: voucher.discountValue,
    unlocks_hidden_tickets: voucher.unlocksHiddenTickets,
    ticket_type: voucher.ticketTypeId,
    add_on: voucher.addOnId,
    assigned_to: voucher.assignedTo,
    created_at: voucher.createdAt.toISOString(),
  }
}
