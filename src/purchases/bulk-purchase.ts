import type { VoucherTerms } from '../vouchers/voucher-terms.ts'
import type { PurchaseStatus } from './purchase-machine.ts'

/** A purchase as its row has it. Amounts: integer minor units of `currency`. */
export type BulkPurchase = {
  conferenceId: string
  id: string
  sponsorId: string | null
  status: PurchaseStatus
  quantity: number
  unitAmount: number
  totalAmount: number
  currency: string
  description: string
  reference: string | null
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  amountReceived: number
  amountRefunded: number
  /** The payment that made it PAID. */
  paymentIntentId: string | null
  /** A payment of another amount that staff accepted, and that amount. */
  accepted: { paymentIntentId: string; amount: number } | null
  failure: { code: string; message: string } | null
  reconcileTicket: number
  appliedTicket: number
  reconciledAt: Date | null
  requestedBy: string
  approvedBy: string | null
  createdAt: Date
  updatedAt: Date
  paidAt: Date | null
  refundedAt: Date | null
}

/** Which purchase, of which tenant. */
export type PurchaseRef = { conferenceId: string; purchaseId: string }
