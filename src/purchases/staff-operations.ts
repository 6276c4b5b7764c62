import type { IdempotencyRunner } from '../db/idempotency-runner.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { OutsidePayment } from '../payments/payment-records.ts'
import type { Caller } from '../shared/caller.ts'
import { beginMarkPaid, finishMarkPaid } from './mark-paid.ts'
import type { PayDeps } from './pay-purchase.ts'
import { insertNote, type TransitionBody, toTransitionBody } from './purchase-history.ts'
import { type PurchaseBody, viewPurchase } from './purchase-view.ts'
import {
  beginRefund,
  finishRefund,
  type PurchaseRefundInput,
  previewRefund,
} from './refund-purchase.ts'
import {
  MAX_PREVIEWED_CODES,
  type RefundPreviewBody,
  toRefundPreviewBody,
} from './refund-schemas.ts'
import { approveComp, type FlagResolution, resolveFlag, revokeComp } from './staff-decisions.ts'

/** What only staff do with a purchase: a part of BulkPurchaseService. */
export type StaffOperations = {
  /**
   * Approves a free purchase, which issues its vouchers.
   * @param quantity what the caller believes that it approves; null: not checked.
   * @throws BulkPurchaseError `wrong_state`, also for another quantity.
   */
  approveComp(
    caller: Caller,
    purchaseId: string,
    quantity: number | null,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** Withdraws an approved free purchase. @throws BulkPurchaseError `wrong_state`. */
  revokeComp(
    caller: Caller,
    purchaseId: string,
    note: string | null,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /**
   * Records a payment that came outside Stripe, which issues the vouchers. An open payment page is closed first.
   * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`; `validation_failed`.
   */
  markPaid(
    caller: Caller,
    purchaseId: string,
    payment: OutsidePayment,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /**
   * Refunds a payment. The vouchers that the request names are frozen at once; everything else changes when Stripe
   * shows the refund.
   */
  refundBulkPurchase(
    caller: Caller,
    purchaseId: string,
    input: PurchaseRefundInput,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** What `refundBulkPurchase` would do. Writes nothing. @throws the same errors. */
  previewRefund(
    caller: Caller,
    purchaseId: string,
    input: PurchaseRefundInput,
  ): Promise<RefundPreviewBody>
  resolveFlag(
    caller: Caller,
    purchaseId: string,
    resolution: FlagResolution,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** Adds a note to the history, which sponsors do not see. @throws AppError `not_found`. */
  addNote(
    caller: Caller,
    purchaseId: string,
    note: string,
    idempotency: IdempotencyRunner,
  ): Promise<TransitionBody>
}

/** See StaffOperations. */
export function createStaffOperations(deps: PayDeps): StaffOperations {
  const refOf = ({ conferenceId }: Caller, purchaseId: string) => ({ conferenceId, purchaseId })
  const causeOf = ({ actor }: Caller, cause: string) => ({ actor, cause })
  const view = (caller: Caller, purchaseId: string) =>
    withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchaseId))
  return {
    approveComp: (caller, purchaseId, quantity, idempotency) =>
      idempotency.run(async (trx) => {
        await approveComp(trx, caller, purchaseId, quantity)
        return viewPurchase(trx, caller, purchaseId)
      }),

    revokeComp: (caller, purchaseId, note, idempotency) =>
      idempotency.run(async (trx) => {
        await revokeComp(trx, caller, purchaseId, note)
        return viewPurchase(trx, caller, purchaseId)
      }),

    markPaid: (caller, purchaseId, payment, idempotency) =>
      idempotency.resume({
        begin: (trx) => beginMarkPaid(trx, deps, caller, purchaseId, payment),
        finish: async (id) => {
          const ref = refOf(caller, purchaseId)
          await finishMarkPaid(deps, ref, id, payment, causeOf(caller, 'mark-paid'))
          return view(caller, purchaseId)
        },
      }),

    refundBulkPurchase: (caller, purchaseId, input, idempotency) =>
      idempotency.resume({
        begin: (trx) => beginRefund(trx, caller, purchaseId, input),
        finish: async (id, isRepeat) => {
          const ref = refOf(caller, purchaseId)
          await finishRefund(deps, ref, { id, isRepeat }, causeOf(caller, 'refund'))
          return view(caller, purchaseId)
        },
      }),

    previewRefund: (caller, purchaseId, input) =>
      withTenant(deps.db, caller, async (trx) =>
        toRefundPreviewBody(
          await previewRefund(trx, caller, purchaseId, input, MAX_PREVIEWED_CODES),
        ),
      ),

    resolveFlag: (caller, purchaseId, resolution, idempotency) =>
      idempotency.run(async (trx) => {
        await resolveFlag(trx, caller, purchaseId, resolution)
        return viewPurchase(trx, caller, purchaseId)
      }),

    addNote: (caller, purchaseId, note, idempotency) =>
      idempotency.run(async (trx) => {
        const ref = refOf(caller, purchaseId)
        return toTransitionBody(await insertNote(trx, ref, caller.actor, note), false)
      }),
  }
}
