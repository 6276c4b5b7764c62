import { beforeAll, describe, expect, it } from 'vitest'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

async function approved(): Promise<string> {
  const body = { sponsor: shop.sponsor, quantity: 3, unit_amount: 0, description: 'Speakers' }
  const made = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, { body })
  await shop.act(made.body.id, 'approve')
  return made.body.id
}

const transitionsOf = async (purchase: string) => {
  const url = `${shop.path}/purchases/${purchase}/transitions`
  return (await app.request<{ data: Record<string, unknown>[] }>('GET', url)).body.data
}

const mailsOf = (purchase: string) =>
  app.rows(
    `select payload->>'kind' as kind from graphile_worker._private_jobs
     where payload->>'purchase_id' = $1 and key like 'mail_purchase:%' order by id`,
    [purchase],
  )

describe('an approved free purchase', () => {
  it('is withdrawn with all its codes, and the history says why', async () => {
    const id = await approved()
    expect((await shop.get(id)).allowed_actions).toEqual(['revoke'])
    const revoked = await shop.act(id, 'revoke', { note: 'Sent to the wrong sponsor' })
    expect(revoked).toMatchObject({
      status: 200,
      body: {
        status: 'REFUNDED',
        amount_refunded: 0,
        vouchers: { active: 0, deactivated: 3, remaining: 0 },
        flags: [],
        allowed_actions: [],
        refunded_at: expect.any(String),
      },
    })
    expect((await transitionsOf(id))[0]).toMatchObject({
      event: 'COMP_REVOKED',
      from: 'PAID',
      to: 'REFUNDED',
      note: 'Sent to the wrong sponsor',
    })
    expect(await mailsOf(id)).toEqual([{ kind: 'codes_ready' }, { kind: 'revoked' }])
    const [code] = await shop.codes(id)
    expect(await app.request('POST', `${shop.path}/vouchers/${code}/activate`)).toMatchObject({
      status: 409,
      body: { code: 'voucher_refunded', detail: expect.stringContaining('a revocation require 3') },
    })
  })

  it('keeps the uses of redeemed codes, and staff get a flag about them that a refresh keeps', async () => {
    const id = await approved()
    const [code] = await shop.codes(id)
    const body = { reference: 'order-1' }
    await app.request('POST', `${shop.path}/vouchers/${code}/redemptions`, { body })
    const revoked = await shop.act(id, 'revoke')
    expect(revoked.body).toMatchObject({
      status: 'REFUNDED',
      vouchers: { deactivated: 3, redeemed: 1 },
      flags: [
        { code: 'too_few_unredeemed', detail: expect.stringMatching(/^1 of the 3 vouchers was /) },
      ],
      allowed_actions: ['resolve_flag'],
    })
    expect((await shop.act(id, 'reconcile')).body.flags).toHaveLength(1)
    await shop.act(id, 'resolve-flag', { code: 'too_few_unredeemed', note: 'agreed' })
    expect((await shop.get(id)).flags).toEqual([])
  })

  it('is withdrawn once by parallel requests, and a repeat under the same key gets the same answer', async () => {
    const id = await approved()
    const answers = await Promise.all(Array.from({ length: 4 }, () => shop.act(id, 'revoke')))
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200, 409, 409, 409,
    ])
    const other = await approved()
    const send = () =>
      app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${other}/revoke`, {
        headers: { 'idempotency-key': `revoke-${other}` },
      })
    expect((await send()).body).toEqual((await send()).body)
    expect(await transitionsOf(other)).toHaveLength(2)
  })

  it('is withdrawn by staff only, and a paid or open purchase is not', async () => {
    const id = await approved()
    const url = `${shop.path}/purchases/${id}/revoke`
    expect((await app.request('POST', url, { as: shop.sponsorKey })).status).toBe(403)
    const seen = await app.request<PurchaseAnswer>('GET', `${shop.path}/purchases/${id}`, {
      as: shop.sponsorKey,
    })
    expect(seen.body.allowed_actions).toEqual([])
    const { id: open } = await shop.buy()
    expect(await shop.act(open, 'revoke')).toMatchObject({
      status: 409,
      body: {
        code: 'wrong_state',
        detail: 'Revocation is not possible: the purchase is PENDING.',
      },
    })
  })
})
