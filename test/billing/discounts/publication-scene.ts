import type Stripe from 'stripe'
import { alignPromotionCodes } from '../../../src/billing/discounts/align-promotion-codes.ts'
import { StripePromotionCodeAction } from '../../../src/mirror/resources/promotion-code-resource.ts'
import { unique } from '../../support/fixtures.ts'
import type { Answer, Body, RequestOptions } from '../../support/test-app.ts'
import { type CouponScene, useCouponScene } from './coupon-scene.ts'

export type VoucherRow = Body & { code: string; times_used: number; invalid_reason: string | null }

export type PublicationScene = CouponScene & {
  /** Creates a batch as staff. Default: 10 percent off. */
  batch(body?: Body): Promise<string>
  /** The codes of a batch, in the order of issue. */
  codes(batch: string): Promise<string[]>
  publish(batch: string, body?: Body, options?: RequestOptions): Promise<Answer<Body>>
  progress(batch: string): Promise<Body>
  /** Runs the waiting jobs of the batch, as a worker would. */
  align(batch: string): Promise<void>
  published(batch: string, body?: Body): Promise<string[]>
  /** The account's promotion codes with this text. */
  atStripe(code: string): Promise<Stripe.PromotionCode[]>
  voucher(code: string): Promise<VoucherRow>
  /** Uses the code at Stripe, which sends no event for that. */
  use(code: string, times?: number): void
  redeem: (code: string) => Promise<Answer<Body>>
  switchCode: (code: string, action: 'activate' | 'deactivate') => Promise<Answer<Body>>
  /** Fetches all promotion codes, as the timer does. */
  refresh: () => Promise<unknown>
  /** Whether each code is active at Stripe. */
  activeOf: (codes: readonly string[]) => boolean[]
  batchOf: (purchase: string) => Promise<string>
  /** The number of waiting jobs of the batch. */
  waiting(batch: string): Promise<number>
}

/** A shop that publishes batches; the test runs the jobs. */
export function usePublicationScene(): PublicationScene {
  const scene = useCouponScene()
  const path = (batch: string) => `${scene.shop.path}/voucher-batches/${batch}`
  const jobKey = (batch: string) => `align_promotion_codes:${batch}`
  /** The newest of the account with this text, without a request. */
  const promotionCode = (code: string) =>
    scene.fake.control
      .list(scene.shop.stripeKey, 'promotion_code')
      .map((one) => one as unknown as Stripe.PromotionCode)
      .find((one) => one.code === code)
  const own = {
    async batch(body: Body = {}): Promise<string> {
      const answer = await scene.request('POST', `${scene.shop.path}/voucher-batches`, {
        body: { count: 3, voucher_type: 'percentage', discount_value: 10, ...body },
      })
      if (answer.status !== 201) throw new Error(JSON.stringify(answer.body))
      return String(answer.body['id'])
    },
    async codes(batch: string): Promise<string[]> {
      const rows = await scene.rows<{ code: string }>(
        `select code from vouchers where batch_id = $1 order by ordinal`,
        [batch],
      )
      return rows.map(({ code }) => code)
    },
    publish: (batch: string, body: Body = {}, options: RequestOptions = {}) =>
      scene.request('POST', `${path(batch)}/publish`, { ...options, body }),
    async progress(batch: string): Promise<Body> {
      return (await scene.request('GET', `${path(batch)}/publication`)).body
    },
    async waiting(batch: string): Promise<number> {
      const rows = await scene.rows(`select from graphile_worker.jobs where key = $1`, [
        jobKey(batch),
      ])
      return rows.length
    },
    async align(batch: string): Promise<void> {
      while ((await own.waiting(batch)) > 0) {
        await scene.rows(`select graphile_worker.remove_job($1)`, [jobKey(batch)])
        await alignPromotionCodes(scene.deps, {
          conferenceId: scene.shop.conference,
          batchId: batch,
        })
      }
    },
    async published(batch: string, body: Body = {}): Promise<string[]> {
      const answer = await own.publish(batch, body)
      if (answer.status !== 202) throw new Error(JSON.stringify(answer.body))
      await own.align(batch)
      return own.codes(batch)
    },
    async atStripe(code: string): Promise<Stripe.PromotionCode[]> {
      return (await scene.dashboard.promotionCodes.list({ code })).data
    },
    async voucher(code: string): Promise<VoucherRow> {
      const url = `${scene.shop.path}/vouchers/${code}`
      return (await scene.request<VoucherRow>('GET', url)).body
    },
    use(code: string, times = 1): void {
      const used = promotionCode(code)
      if (used === undefined) throw new Error(`Stripe has no code ${code}`)
      const times_redeemed = used.times_redeemed + times
      scene.fake.control.put(scene.shop.stripeKey, { ...used, times_redeemed })
    },
  }
  const more = {
    redeem: (code: string) =>
      scene.request('POST', `${scene.shop.path}/vouchers/${code}/redemptions`, {
        body: { reference: unique('order') },
      }),
    switchCode: (code: string, action: 'activate' | 'deactivate') =>
      scene.request('POST', `${scene.shop.path}/vouchers/${code}/${action}`),
    refresh: () => new StripePromotionCodeAction(scene.context(scene.shop)).syncAll(),
    activeOf: (codes: readonly string[]) =>
      codes.map((code) => promotionCode(code)?.active ?? false),
    async batchOf(purchase: string): Promise<string> {
      const sql = `select id from voucher_batches where purchase_id = $1`
      const [row] = await scene.rows<{ id: string }>(sql, [purchase])
      return row?.id ?? ''
    },
  }
  // These must be getters, because the values do not exist yet.
  return Object.defineProperties(
    { ...own, ...more },
    Object.getOwnPropertyDescriptors(scene),
  ) as unknown as PublicationScene
}
