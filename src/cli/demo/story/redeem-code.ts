import { z } from 'zod'
import { redemptionSchema, voucherSchema } from '../../../vouchers/voucher-schemas.ts'
import { shortIds } from '../short-ids.ts'
import type { Scene, Shop } from './scene.ts'

/** What the API says when a code cannot be redeemed. */
export const refusal = z.object({ code: z.string(), invalid_reason: z.string() })

/** The ticket shop redeems a code, repeats itself, and then tries to use it for another order. */
export async function redeemCode(
  { api, narrator }: Scene,
  shop: Shop,
  code: string,
): Promise<void> {
  narrator.chapter('Somebody redeems a code')
  const path = `${shop.path}/vouchers/${code}`
  const redemption = { method: 'POST', path: `${path}/redemptions`, as: shop.staffKey } as const
  const ask = (reference: string) => ({ ...redemption, body: { reference } })

  const first = await api.call({ ...ask('order-1001'), expect: 201, schema: redemptionSchema })
  narrator.check('redeemed for', first.reference, 'order-1001')

  const again = await api.call({ ...ask('order-1001'), expect: 200, schema: redemptionSchema })
  narrator.check('again: the same redemption', again.id, first.id, shortIds(again.id))
  const look = { method: 'GET', path, as: shop.staffKey, expect: 200 } as const
  const voucher = await api.look({ ...look, schema: voucherSchema })
  narrator.check('uses', voucher.times_used, 1, `${voucher.times_used} of ${voucher.max_uses}`)

  const other = await api.call({ ...ask('order-1002'), expect: 409, schema: refusal })
  narrator.check('for another order: refused', other.invalid_reason, 'used_up')
}
