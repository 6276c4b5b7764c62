import Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import { findResource } from '../../../src/mirror/resource-registry.ts'
import { MOMENT, mirroredRow, type Sample, SECONDS } from '../mirrored-row.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const rowOf = (name: string, object: Sample) => mirroredRow(scene, shop, name, object)

const PRICE: Sample = {
  id: 'price_1',
  object: 'price',
  active: true,
  billing_scheme: 'per_unit',
  created: SECONDS,
  currency: 'eur',
  livemode: false,
  lookup_key: 'standard',
  metadata: { shelf: '4' },
  nickname: 'Standard',
  product: 'prod_1',
  recurring: { interval: 'month', interval_count: 3, meter: null, usage_type: 'licensed' },
  tax_behavior: 'unspecified',
  tiers_mode: null,
  transform_quantity: { divide_by: 10, round: 'up' },
  type: 'recurring',
  unit_amount: 2000,
  unit_amount_decimal: '2000',
}

describe('a product', () => {
  it('has the columns that shops filter by', async () => {
    const row = await rowOf('products', {
      id: 'my-shirt',
      object: 'product',
      active: false,
      created: SECONDS,
      default_price: 'price_1',
      description: 'Grey',
      images: ['https://shop.example/shirt.png'],
      livemode: false,
      metadata: {},
      name: 'T-shirt',
      package_dimensions: { height: 1, length: 2, weight: 3, width: 4 },
      shippable: true,
      statement_descriptor: 'SHIRT',
      tax_code: { id: 'txcd_1' },
      type: 'good',
      unit_label: 'piece',
      updated: SECONDS,
      url: null,
    })
    expect(row).toMatchObject({
      active: false,
      created: MOMENT,
      default_price: 'price_1',
      description: 'Grey',
      images: ['https://shop.example/shirt.png'],
      name: 'T-shirt',
      package_dimensions: { height: 1, length: 2, weight: 3, width: 4 },
      shippable: true,
      statement_descriptor: 'SHIRT',
      tax_code: 'txcd_1',
      type: 'good',
      unit_label: 'piece',
      updated: MOMENT,
      url: null,
    })
  })
})

describe('a price', () => {
  it('has its amount in the minor unit and its interval', async () => {
    expect(await rowOf('prices', PRICE)).toMatchObject({
      active: true,
      billing_scheme: 'per_unit',
      currency: 'eur',
      lookup_key: 'standard',
      metadata: { shelf: '4' },
      nickname: 'Standard',
      product: 'prod_1',
      recurring: PRICE['recurring'],
      recurring_interval: 'month',
      recurring_interval_count: '3',
      recurring_usage_type: 'licensed',
      transform_quantity: { divide_by: 10, round: 'up' },
      type: 'recurring',
      unit_amount: '2000',
      unit_amount_decimal: '2000',
    })
  })

  it('keeps the tax behaviour `unspecified` (E21)', async () => {
    expect(await rowOf('prices', PRICE)).toMatchObject({ tax_behavior: 'unspecified' })
    const included = { ...PRICE, id: 'price_inclusive', tax_behavior: 'inclusive' }
    expect(await rowOf('prices', included)).toMatchObject({ tax_behavior: 'inclusive' })
    const unknown = { ...PRICE, id: 'price_null', tax_behavior: null }
    expect(await rowOf('prices', unknown)).toMatchObject({ tax_behavior: null })
  })

  it('has exact fractions of the minor unit, given as text and as an SDK object', async () => {
    const amount = '0.000123456789'
    const asText = { ...PRICE, id: 'price_text', unit_amount: null, unit_amount_decimal: amount }
    const asObject = {
      ...asText,
      id: 'price_sdk',
      unit_amount_decimal: Stripe.Decimal.from(amount),
    }
    for (const price of [asText, asObject]) {
      const row = await rowOf('prices', price)
      expect(row).toMatchObject({ unit_amount: null, unit_amount_decimal: amount })
      expect(row.data).toMatchObject({ unit_amount_decimal: amount })
    }
  })

  it('can be a one-time amount that the customer chooses', async () => {
    const custom = { maximum: null, minimum: 500, preset: 1000 }
    const open = { ...PRICE, id: 'price_open', unit_amount: null, unit_amount_decimal: null }
    const price = { ...open, type: 'one_time', recurring: null, custom_unit_amount: custom }
    expect(await rowOf('prices', price)).toMatchObject({
      custom_unit_amount: custom,
      recurring: null,
      recurring_interval: null,
      type: 'one_time',
      unit_amount: null,
    })
  })

  it.each(['prices', 'plans'] as const)(
    'with tiers is fetched with them, because they hold the amounts: %s',
    async (name) => {
      const listed = { ...PRICE, id: 'tiered', billing_scheme: 'tiered', tiers_mode: 'volume' }
      const tiers = [{ up_to: null, unit_amount: 5 }]
      const asked: unknown[] = []
      const retrieve = async (...request: unknown[]) => {
        asked.push(request)
        return { ...listed, tiers }
      }
      // The parts of a client that this test needs; the fake has no tiers.
      const stripe = { [name]: { retrieve } } as unknown as Stripe
      const whole = await findResource(name)?.complete?.(stripe, listed)
      expect(asked).toEqual([['tiered', { expand: ['tiers'] }]])
      expect(await rowOf(name, { ...listed, ...whole })).toMatchObject({
        tiers,
        tiers_mode: 'volume',
      })
      expect(await findResource(name)?.complete?.(stripe, { ...listed, ...whole })).toEqual(whole)
      expect(asked).toHaveLength(1)
    },
  )
})

describe('a plan', () => {
  it('has its amount and interval', async () => {
    const row = await rowOf('plans', {
      id: 'gold',
      object: 'plan',
      active: true,
      amount: 900,
      amount_decimal: '900',
      billing_scheme: 'per_unit',
      created: SECONDS,
      currency: 'usd',
      interval: 'year',
      interval_count: 2,
      livemode: true,
      meter: null,
      nickname: 'Gold',
      product: { id: 'prod_1', deleted: true },
      transform_usage: null,
      trial_period_days: 14,
      usage_type: 'licensed',
    })
    expect(row).toMatchObject({
      active: true,
      amount: '900',
      amount_decimal: '900',
      currency: 'usd',
      interval: 'year',
      interval_count: '2',
      livemode: true,
      nickname: 'Gold',
      product: 'prod_1',
      trial_period_days: '14',
      usage_type: 'licensed',
    })
  })
})

describe('a promotion code', () => {
  const CODE: Sample = {
    id: 'promo_1',
    object: 'promotion_code',
    active: true,
    code: 'FALL20',
    created: SECONDS,
    customer: 'cus_1',
    expires_at: SECONDS,
    max_redemptions: 10,
    promotion: { coupon: '20-off', type: 'coupon' },
    restrictions: {
      first_time_transaction: true,
      minimum_amount: 5000,
      minimum_amount_currency: 'eur',
    },
    times_redeemed: 3,
  }

  it('has its coupon, customer and restrictions', async () => {
    expect(await rowOf('promotion-codes', CODE)).toMatchObject({
      active: true,
      code: 'FALL20',
      coupon: '20-off',
      customer: 'cus_1',
      expires_at: MOMENT,
      first_time_transaction: true,
      max_redemptions: '10',
      minimum_amount: '5000',
      minimum_amount_currency: 'eur',
      times_redeemed: '3',
    })
    expect(findResource('promotion-codes')?.references?.(CODE)).toEqual([
      { resource: 'coupons', id: '20-off' },
      { resource: 'customers', id: 'cus_1' },
    ])
  })

  it('of an older API version has its coupon in another field', async () => {
    const { promotion: _, ...rest } = CODE
    for (const coupon of ['20-off', { id: '20-off', object: 'coupon' }]) {
      const older = { ...rest, id: `promo_${typeof coupon}`, coupon }
      expect(await rowOf('promotion-codes', older)).toMatchObject({ coupon: '20-off' })
      expect(findResource('promotion-codes')?.references?.(older)).toContainEqual({
        resource: 'coupons',
        id: '20-off',
      })
    }
  })
})
