import { beforeAll, describe, expect, it } from 'vitest'
import { insertEndpoint } from '../../src/notifications/webhook-endpoints.ts'
import { issuePurchaseVouchers } from '../../src/purchases/change-purchase.ts'
import { lockAggregate } from '../../src/purchases/purchase-store.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { TEST_ENCRYPTION_KEY, useTestApp } from '../support/test-app.ts'
import { dispute, openScene, PAID, payment, refund, type Scene, session } from './purchase-scene.ts'

const app = useTestApp()

type PublishedEvent = { type: string; data: Record<string, unknown> }

/** A purchase whose conference has a webhook endpoint. */
async function openWithEndpoint(): Promise<Scene & { published: () => Promise<PublishedEvent[]> }> {
  const scene = await openScene(app.db)
  const { conferenceId } = scene.ref
  await scene.run((trx) =>
    insertEndpoint(trx, createEncryption(TEST_ENCRYPTION_KEY), conferenceId, {
      url: 'https://receiver.example/',
      description: null,
      eventTypes: null,
    }),
  )
  const published = async () => {
    const rows = await app.rows<{ body: string }>(
      'select body from webhook_deliveries where conference_id = $1 order by ctid',
      [conferenceId],
    )
    return rows.map(({ body }) => JSON.parse(body) as PublishedEvent)
  }
  return { ...scene, published }
}

const typesOf = (published: PublishedEvent[]) => published.map(({ type }) => type)

describe('the outbound events of a purchase', () => {
  let scene: Awaited<ReturnType<typeof openWithEndpoint>>
  beforeAll(async () => {
    scene = await openWithEndpoint()
  })

  it('contain its payment and its codes once, also when the snapshot is applied again', async () => {
    await scene.read(PAID)
    await scene.read(PAID)
    const published = await scene.published()
    expect(typesOf(published)).toEqual(['vouchers.issued', 'purchase.paid'])
    expect(published[0]?.data).toMatchObject({ purchase: scene.ref.purchaseId, count: 10 })
    expect(published[1]?.data).toEqual({
      purchase: scene.ref.purchaseId,
      status: 'PAID',
      sponsor: null,
      reference: null,
      quantity: 10,
      total_amount: 1000,
      amount_received: 1000,
      amount_refunded: 0,
      currency: 'EUR',
      failure_code: null,
    })
  })

  it('contain a dispute with its outcome', async () => {
    await scene.read({ ...PAID, disputes: [dispute('needs_response')] })
    await scene.read({ ...PAID, disputes: [dispute('won')] })
    const published = (await scene.published()).slice(2)
    expect(typesOf(published)).toEqual(['purchase.disputed', 'purchase.dispute_closed'])
    expect(published[0]?.data).toMatchObject({ dispute: 'dp_1', status: 'PAID' })
    expect(published[1]?.data).toMatchObject({ outcome: 'won' })
  })

  it('contain a partial and a full refund, with the number of deactivated codes', async () => {
    const disputes = [dispute('won')]
    await scene.read({ ...PAID, disputes, refunds: [refund('re_1', 300)] })
    await scene.read({ ...PAID, disputes, refunds: [refund('re_1', 300), refund('re_2', 700)] })
    const published = (await scene.published()).slice(4)
    expect(
      published.map(({ type, data }) => [type, data['count'] ?? data['amount_refunded']]),
    ).toEqual([
      ['vouchers.deactivated', 3],
      ['purchase.partially_refunded', 300],
      ['vouchers.deactivated', 7],
      ['purchase.refunded', 1000],
    ])
  })

  it('contain a failed refund', async () => {
    await scene.read({
      ...PAID,
      disputes: [dispute('won')],
      refunds: [refund('re_1', 300), refund('re_2', 700, { status: 'failed' })],
    })
    const last = (await scene.published()).at(-1)
    expect(last).toMatchObject({ type: 'purchase.refund_failed', data: { refund: 're_2' } })
  })

  it('contain no voucher code', async () => {
    const codes = await app.rows<{ code: string }>(
      'select code from vouchers where conference_id = $1',
      [scene.ref.conferenceId],
    )
    expect(codes).toHaveLength(10)
    const text = JSON.stringify(await scene.published())
    for (const { code } of codes) expect(text).not.toContain(code)
  })
})

describe('the outbound events', () => {
  it('contain a failure with its reason, and a late payment after it', async () => {
    const scene = await openWithEndpoint()
    await scene.read({ sessions: [session({ status: 'expired', paid: false })] })
    expect((await scene.published()).at(-1)).toMatchObject({
      type: 'purchase.failed',
      data: { failure_code: 'checkout_expired', status: 'FAILED' },
    })
    await scene.read({ sessions: [session()], payments: [payment()] })
    expect(typesOf(await scene.published())).toEqual([
      'purchase.failed',
      'vouchers.issued',
      'purchase.paid',
    ])
  })

  it('contain no voucher event if no code was missing', async () => {
    const scene = await openWithEndpoint()
    await scene.read(PAID)
    await scene.run(async (trx) => {
      const { purchase } = await lockAggregate(trx, scene.ref)
      return issuePurchaseVouchers(trx, purchase)
    })
    expect(typesOf(await scene.published())).toEqual(['vouchers.issued', 'purchase.paid'])
  })
})
