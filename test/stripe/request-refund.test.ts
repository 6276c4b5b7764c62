import { afterEach, describe, expect, it } from 'vitest'
import type { RefundParams } from '../../src/payments/payment-gateway.ts'
import { useStripeScene } from './stripe-scene.ts'

const scene = useStripeScene()
const CREATE = '/v1/refunds'

afterEach(() => scene.fake.control.clearFaults())

async function paid() {
  const ref = scene.newRef()
  const session = await scene.open(ref)
  scene.fake.control.pay(session)
  const [payment] = (await scene.facts(ref, session)).payments
  if (payment === undefined) throw new Error('not paid')
  const order: RefundParams = {
    requestId: 'rr_1',
    paymentIntent: payment.paymentIntent,
    amount: 4_000,
    currency: 'EUR',
    reason: 'requested_by_customer',
  }
  return { ref, session, order, listed: async () => (await scene.facts(ref, session)).refunds }
}

describe('a refund', () => {
  it('is created once, also when the request is repeated', async () => {
    const { ref, order, listed } = await paid()
    const first = await scene.gateway.refund(ref, order)
    expect(await scene.gateway.refund(ref, order)).toEqual(first)
    expect(await listed()).toMatchObject([
      { id: first.kind === 'accepted' && first.refundId, amount: 4_000, status: 'succeeded' },
    ])
    expect(scene.fake.control.requests({ method: 'POST', path: CREATE })[0]).toMatchObject({
      idempotencyKey: `bp:${ref.purchaseId}:refund:rr_1`,
      params: {
        amount: '4000',
        reason: 'requested_by_customer',
        metadata: { purchase_id: ref.purchaseId, refund_request: 'rr_1' },
      },
    })
  })

  it('with another request id is another refund, also of the same amount (D27)', async () => {
    const { ref, order, listed } = await paid()
    await scene.gateway.refund(ref, order)
    await scene.gateway.refund(ref, { ...order, requestId: 'rr_2' })
    expect(await listed()).toHaveLength(2)
  })

  it('above the amount left is refused with Stripe’s message', async () => {
    const { ref, order } = await paid()
    expect(await scene.gateway.refund(ref, { ...order, amount: 10_001 })).toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(/greater than/i),
    })
  })

  it('is found when Stripe created it but stored an error', async () => {
    const { ref, order, listed } = await paid()
    scene.fake.control.injectFault({
      path: CREATE,
      method: 'POST',
      action: { kind: 'fail_after', how: 'status_500' },
    })
    const lost = scene.gateway.refund(ref, order)
    await expect(lost).rejects.toMatchObject({ code: 'stripe_failed' })
    const result = await scene.gateway.refund(ref, order)
    expect(result.kind).toBe('accepted')
    expect(await listed()).toHaveLength(1)
  })

  it('is refused when Stripe stored an error and created none', async () => {
    const { ref, order, listed } = await paid()
    scene.fake.control.injectFault({ path: CREATE, method: 'POST', action: { kind: 'error' } })
    const lost = scene.gateway.refund(ref, order)
    await expect(lost).rejects.toMatchObject({ code: 'stripe_failed' })
    expect(await scene.gateway.refund(ref, order)).toMatchObject({ kind: 'refused' })
    expect(await listed()).toEqual([])
  })
})
