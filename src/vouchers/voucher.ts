import type { VoucherTerms } from './voucher-terms.ts'
import type { InvalidReason } from './voucher-validity.ts'

export const VOUCHER_STATES = ['active', 'frozen', 'deactivated'] as const

/** `frozen`: a refund or dispute is under way. A used-up code stays `active`. */
export type VoucherState = (typeof VOUCHER_STATES)[number]

/** One code with the terms of its batch, and whether it could be redeemed when it was read. */
export type Voucher = Omit<VoucherTerms, 'prefix'> & {
  id: number
  /** Its number within the batch, from 1. */
  ordinal: number
  code: string
  batchId: string
  purchaseId: string | null
  state: VoucherState
  /** null: it can be redeemed. */
  invalidReason: InvalidReason | null
  timesUsed: number
  ticketTypeId: string | null
  addOnId: string | null
  assignedTo: string | null
  createdAt: Date
}
