import { beforeAll, describe, expect, it } from 'vitest'
import { type IdempotencyRunner, withoutIdempotencyKey } from '../../src/db/idempotency-runner.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import type { BulkPurchaseService, PurchaseRef } from '../../src/purchases/bulk-purchase-service.ts'
import { BulkPurchaseError } from '../../src/purchases/purchase-aggregate.ts'
import { getAggregate } from '../../src/purchases/purchase-store.ts'
import type { Caller } from '../../src/shared/caller.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
let service: BulkPurchaseService
let caller: Caller
let everyTime: IdempotencyRunner
beforeAll(async () => {
  shop = await openShop(app)
  service = purchaseService(app.db, app.gateway)
  caller = {
    conferenceId: shop.conference,
    actor: { kind: 'staff', id: 'key_test' },
    sponsorId: null,
  }
  everyTime = withoutIdempotencyKey(app.db, shop.conference)
})

const cause = { actor: { kind: 'system', id: 'test' }, cause: 'test' } as const
const urls = { successUrl: 'https://shop.example/ok', cancelUrl: 'https://shop.example/no' }

async function order() {
  const input = {
    item: { kind: 'ticket_type' as const, id: shop.ticketType },
    quantity: 3,
    reference: null,
    sponsor: shop.sponsor,
    unitAmount: null,
    description: null,
    terms: null,
  }
  const purchase = await service.createBulkPurchase(caller, input, everyTime)
  return { conferenceId: shop.conference, purchaseId: purchase.id }
}

/** Handles the webhook of a session as the inbox does. Null: the session is not ours. */
async function handleWebhook(session: string) {
  const snapshot = await service.handleCheckoutWebhook({
    conferenceId: shop.conference,
    purchaseId: null,
    sessionIds: [session],
    paymentIntents: [],
    fraudWarnings: false,
  })
  if (snapshot === null) return null
  return withTenant(app.db, snapshot.ref, async (trx) => {
    await service.applySnapshot(trx, snapshot, cause)
    return (await getAggregate(trx, snapshot.ref)).purchase
  })
}

const expire = (ref: PurchaseRef) =>
  withTenant(app.db, ref, (trx) => service.markFailed(trx, ref, 'CHECKOUT_EXPIRED', cause))

async function openCheckout({ purchaseId }: PurchaseRef): Promise<string> {
  const page = await service.createCheckoutSession(caller, purchaseId, urls, everyTime)
  return page.session_id
}

async function paidOrder() {
  const ref = await order()
  const session = await openCheckout(ref)
  stripe.fake.control.pay(session)
  const purchase = await handleWebhook(session)
  return { ref, session, purchase }
}

describe('BulkPurchaseService', () => {
  it('creates a purchase, opens a checkout, and fulfils it on the webhook of the session', async () => {
    const { ref, purchase } = await paidOrder()
    expect(purchase).toMatchObject({ id: ref.purchaseId, status: 'PAID', amountReceived: 3_000 })
    expect(await shop.codes(ref.purchaseId)).toHaveLength(3)
  })

  it('returns null for the session of another service', async () => {
    expect(await handleWebhook('cs_other')).toBeNull()
  })

  it('issues only missing codes (D7)', async () => {
    const { ref } = await paidOrder()
    expect(await service.fulfillBulkPurchase(ref)).toBe(0)
    await app.rows(
      `delete from vouchers where ordinal = 2 and batch_id in (
      select id from voucher_batches where purchase_id = $1)`,
      [ref.purchaseId],
    )
    expect(await service.fulfillBulkPurchase(ref)).toBe(1)
    expect(await shop.codes(ref.purchaseId)).toHaveLength(3)
  })

  it('issues missing codes when staff reconcile', async () => {
    const { ref } = await paidOrder()
    await app.rows(
      `delete from vouchers where batch_id in (
      select id from voucher_batches where purchase_id = $1)`,
      [ref.purchaseId],
    )
    const { body } = await shop.act(ref.purchaseId, 'reconcile')
    expect(body).toMatchObject({ status: 'PAID', vouchers: { issued: 3 } })
  })

  it('refuses to fulfil an unpaid purchase', async () => {
    await expect(service.fulfillBulkPurchase(await order())).rejects.toBeInstanceOf(
      BulkPurchaseError,
    )
  })

  it('deactivates the vouchers of a purchase that is refunded in full', async () => {
    const { ref } = await paidOrder()
    const all = { paymentIntent: null, amount: null, quantity: null, codes: null, reason: null }
    await service.refundBulkPurchase(caller, ref.purchaseId, all, everyTime)
    expect(await shop.get(ref.purchaseId)).toMatchObject({
      status: 'REFUNDED',
      vouchers: { deactivated: 3 },
    })
  })

  it('never fails a purchase that is paid or may still be paid (D3)', async () => {
    const { ref } = await paidOrder()
    expect(await expire(ref)).toEqual({ kind: 'refused', status: 'PAID' })
    const open = await order()
    await openCheckout(open)
    expect(await expire(open)).toEqual({ kind: 'refused', status: 'PROCESSING' })
    expect(await expire(await order())).toMatchObject({ status: 'FAILED' })
  })
})
