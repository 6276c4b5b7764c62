import type { Tx } from '../db/connect.ts'
import { issueVouchers } from '../vouchers/issue-vouchers.ts'
import {
  holdForDispute,
  holdForRefund,
  turnBackOn,
  turnOffAll,
  turnOffForRefund,
} from '../vouchers/turn-off-vouchers.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import type { PurchaseCase } from './purchase-context.ts'
import { FLAG_OF_EVENT, raiseFlag, raiseSingleFlag } from './purchase-flags.ts'
import type { PurchaseEffect, PurchaseEvent } from './purchase-machine.ts'
import { codesToTurnOff } from './purchase-money.ts'
import { updatePurchase } from './purchase-store.ts'

type Performer = (trx: Tx, known: PurchaseCase, event: PurchaseEvent) => Promise<void>

const refOf = (purchase: BulkPurchase) => ({
  conferenceId: purchase.conferenceId,
  purchaseId: purchase.id,
})

async function codeLength(trx: Tx, conferenceId: string): Promise<number> {
  const row = await trx('conferences')
    .where({ id: conferenceId })
    .first<{ code_length: number } | undefined>('code_length')
  if (row === undefined) throw new Error(`Conference ${conferenceId} is gone`)
  return row.code_length
}

/** Makes the codes of a paid purchase; only those that are missing, so it may run again. */
export async function issueForPurchase(trx: Tx, purchase: BulkPurchase): Promise<number> {
  const { issued } = await issueVouchers(trx, {
    conferenceId: purchase.conferenceId,
    source: 'purchase',
    purchaseId: purchase.id,
    sponsorId: purchase.sponsorId,
    count: purchase.quantity,
    codeLength: await codeLength(trx, purchase.conferenceId),
    currency: purchase.currency,
    ticketTypeId: purchase.ticketTypeId,
    addOnId: purchase.addOnId,
    terms: purchase.terms,
    createdBy: purchase.requestedBy,
  })
  return issued
}

/** Freezes exactly the codes that the refunds under way would turn off, and thaws all others. */
const alignRefundHold: Performer = async (trx, { purchase, money }) => {
  const k = codesToTurnOff(purchase, money, money.net - money.refundPending)
  await holdForRefund(trx, purchase.conferenceId, purchase.id, k)
}

const alignDisputeHold: Performer = async (trx, { purchase, money }) => {
  await holdForDispute(trx, purchase.conferenceId, purchase.id, money.disputed)
}

const deactivateUnredeemed: Performer = async (trx, known, event) => {
  const { purchase, money } = known
  const k = codesToTurnOff(purchase, money, money.net)
  const { missing } = await turnOffForRefund(trx, purchase.conferenceId, purchase.id, k)
  if (missing > 0) {
    await raiseSingleFlag(trx, refOf(purchase), 'too_few_unredeemed', {
      fact: `off:${k}`,
      detail: `${k} codes should be off after the refunds, ${missing} of them were redeemed before.`,
    })
  }
  await alignRefundHold(trx, known, event)
}

/**
 * Who does what the machine names, on the locked row and in its transaction. A name without a
 * performer does not compile.
 */
export const effectPerformers = {
  issueVouchers: async (trx, { purchase }) => {
    await issueForPurchase(trx, purchase)
  },
  flagForStaff: async (trx, { purchase }, event) => {
    if (!('flag' in event)) throw new Error(`${event.type} raises no flag`)
    await raiseFlag(trx, refOf(purchase), FLAG_OF_EVENT[event.type], event.flag)
  },
  recordDecline: async (trx, { purchase }, event) => {
    if (event.type !== 'PAYMENT_DECLINED') throw new Error(`${event.type} is no decline`)
    const { code, message } = event.failure
    await updatePurchase(trx, refOf(purchase), { failure_code: code, failure_message: message })
  },
  freezeForRefund: alignRefundHold,
  unfreezeAfterRefund: alignRefundHold,
  freezeForDispute: alignDisputeHold,
  unfreezeAfterDispute: alignDisputeHold,
  deactivateUnredeemed,
  deactivateVouchers: async (trx, { purchase }) => {
    await turnOffAll(trx, purchase.conferenceId, purchase.id)
  },
  reactivateVouchers: async (trx, { purchase }) => {
    await turnBackOn(trx, purchase.conferenceId, purchase.id)
  },
} satisfies Record<PurchaseEffect, Performer>
