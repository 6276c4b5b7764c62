import type { Db, Tx } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { insertAttempt } from '../../src/payments/payment-store.ts'
import { changePurchase, ownerOf } from '../../src/purchases/change-purchase.ts'
import { getAggregate, insertPurchase } from '../../src/purchases/purchase-store.ts'
import { type PurchaseBody, viewPurchase } from '../../src/purchases/purchase-view.ts'
import { newId } from '../../src/shared/ids.ts'

export const cause = { actor: { kind: 'system', id: 'test' }, cause: 'test' } as const

export type Scene = {
  ref: { conferenceId: string; purchaseId: string }
  /** Applies a snapshot to the purchase. */
  read(facts: Partial<PaymentSnapshot>): Promise<PurchaseBody>
  view(): Promise<PurchaseBody>
  run: <T>(work: (trx: Tx) => Promise<T>) => Promise<T>
}

/** A conference with a purchase of 10 codes at 1.00 EUR whose first checkout is open. */
export async function openScene(
  db: Db,
  order: {
    quantity?: number
    unitAmount?: number
    maxUses?: number
    conferenceId?: string
    attempts?: 0
    currency?: string
    ticketType?: string
    addOn?: string
  } = {},
): Promise<Scene> {
  const conferenceId = order.conferenceId ?? newId('conference')
  const ref = { conferenceId, purchaseId: newId('purchase') }
  const run = <T>(work: (trx: Tx) => Promise<T>) => withTenant(db, ref, work)
  await run(async (trx) => {
    await trx('conferences')
      .insert({
        id: conferenceId,
        slug: conferenceId.toLowerCase().replace('_', '-'),
        name: 'Conference',
        currency: 'EUR',
      })
      .onConflict('id')
      .ignore()
    await insertPurchase(trx, {
      conference_id: conferenceId,
      id: ref.purchaseId,
      sponsor_id: null,
      quantity: order.quantity ?? 10,
      unit_amount: order.unitAmount ?? 100,
      currency: order.currency ?? 'EUR',
      price_source: 'catalogue',
      description: '10 codes',
      reference: null,
      ticket_type_id: order.ticketType ?? null,
      add_on_id: order.addOn ?? null,
      voucher_type: 'comp',
      discount_value: 0,
      max_uses: order.maxUses ?? 1,
      valid_from: null,
      valid_until: null,
      unlocks_hidden_tickets: false,
      code_prefix: 'BULK-',
      requested_by: 'test',
    })
  })
  const scene: Scene = {
    ref,
    run,
    view: () =>
      run((trx) =>
        viewPurchase(trx, { conferenceId, actor: cause.actor, sponsorId: null }, ref.purchaseId),
      ),
    async read(facts) {
      const input = { type: 'snapshot', snapshot: { ...NOTHING, ...facts } } as const
      await run((trx) => changePurchase(trx, ref, input, cause))
      return scene.view()
    },
  }
  if ((order.unitAmount ?? 100) > 0 && order.attempts !== 0) await openAttempt(scene, 1)
  return scene
}

export const NOTHING: PaymentSnapshot = {
  sessions: [],
  payments: [],
  refunds: [],
  disputes: [],
  warnings: [],
}

/** Opens an attempt as a checkout does, with session `cs_{n}`. */
export async function openAttempt({ ref, run }: Scene, attempt: number): Promise<void> {
  await run(async (trx) => {
    const { attempts } = (await getAggregate(trx, ref)).records
    if (!attempts.some((stored) => stored.attempt === attempt)) {
      const params = {
        successUrl: 'https://example.org/ok',
        cancelUrl: 'https://example.org/no',
        description: '10 codes',
        quantity: 10,
        unitAmount: 100,
        currency: 'EUR',
        sponsorId: null,
        contactEmail: null,
        expiresAt: null,
        invoiceCreation: false,
        taxIdCollection: false,
      }
      const row = { attempt, kind: 'checkout', params, requestedBy: 'test' } as const
      await insertAttempt(trx, ownerOf(ref), row)
    }
    const changes = {
      sessionId: `cs_${attempt}`,
      url: 'https://pay',
      expiresAt: new Date(Date.now() + 86_400_000),
    }
    const input = { type: 'attempt', attempt, event: 'OPENED', changes } as const
    await changePurchase(trx, ref, input, cause)
  })
}

export const session = (over: Partial<PaymentSnapshot['sessions'][number]> = {}) => ({
  attempt: 1,
  sessionId: `cs_${over.attempt ?? 1}`,
  status: 'complete' as const,
  paid: true,
  paymentIntent: `pi_${over.attempt ?? 1}`,
  url: null,
  expiresAt: new Date(Date.now() + 86_400_000),
  ...over,
})

export const payment = (over: Partial<PaymentSnapshot['payments'][number]> = {}) => ({
  paymentIntent: `pi_${over.attempt ?? 1}`,
  attempt: 1,
  status: 'succeeded',
  amount: 1000,
  received: 1000,
  currency: 'EUR',
  chargedAt: null,
  decline: null,
  ...over,
})

export const refund = (
  id: string,
  amount: number,
  over: Partial<PaymentSnapshot['refunds'][number]> = {},
) => ({
  id,
  paymentIntent: 'pi_1',
  status: 'succeeded' as const,
  amount,
  currency: 'EUR',
  reason: null,
  failureReason: null,
  refundedAt: null,
  ...over,
})

export const dispute = (
  status: string,
  over: Partial<PaymentSnapshot['disputes'][number]> = {},
) => ({
  id: 'dp_1',
  paymentIntent: 'pi_1',
  status,
  amount: 1000,
  currency: 'EUR',
  reason: 'fraudulent',
  ...over,
})

/** A paid session and its payment. */
export const PAID = { sessions: [session()], payments: [payment()] }
