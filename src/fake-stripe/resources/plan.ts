import type Stripe from 'stripe'
import type { z } from 'zod'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { flag, group, text, timeRange } from '../api/params.ts'
import { type Call, existing, operation, type PathParams, type Resource } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { givenFields } from '../core/given-fields.ts'
import { noSuch } from '../core/stripe-error.ts'
import { planOf, type WirePlan } from '../objects/plan.ts'
import { prices, type WirePrice } from '../objects/price.ts'
import { products } from '../objects/product.ts'
import { createProduct } from '../pricing/create-product.ts'
import { deletePrice } from '../pricing/delete-price.ts'
import { checkPrice, insertPrice, type PriceInput } from '../pricing/insert-price.ts'
import { emitPriceEvent } from '../pricing/price-event.ts'
import { requireTiers } from '../pricing/require-tiers.ts'
import { planCreateParams, planUpdateParams } from './price-params.ts'

const PATH = '/v1/plans'
const kind = 'plan'

const filters = {
  active: flag().optional(),
  created: timeRange().optional(),
  product: text().optional(),
} satisfies FiltersOf<Stripe.PlanListParams>

/** Recurring prices under their older name. @see https://docs.stripe.com/api/plans */
export const planResource: Resource = {
  kind,
  expandable: { product: { kind: 'product' } },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: planCreateParams,
      run: createPlan,
    }),
    operation({
      method: 'GET',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run: (call, _params, path) => planOf(pricePlan(call, path)),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: planUpdateParams,
      run: updatePlan,
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run(call, _params, path) {
        const price = pricePlan(call, path)
        deletePrice(call, price)
        return { id: price.id, object: 'plan', deleted: true }
      },
    }),
    listOperation({
      path: PATH,
      table: prices,
      view: { kind, of: planOf },
      filters,
      where({ active, created, product }, call) {
        if (product !== undefined) existing(call, products, product, 'product')
        const within = createdWithin(created)
        return (price) =>
          Boolean(price.recurring) && // absent from a price that a test has put there
          within(price) &&
          (active ?? price.active) === price.active &&
          (product ?? price.product) === price.product
      },
    }),
  ],
}

function createPlan(call: Call, params: z.output<typeof planCreateParams>): WirePlan {
  const { product } = params
  requireTiers(params.billing_scheme)
  const fields = priceFields(params)
  checkPrice(call, fields)
  if (typeof product === 'string') existing(call, products, product, 'product')
  const owner = typeof product === 'string' ? product : createProduct(call, product).id
  const price = insertPrice(call, { ...fields, product: owner })
  emitPriceEvent(call, 'created', price)
  return planOf(price)
}

function priceFields(params: z.output<typeof planCreateParams>): Omit<PriceInput, 'product'> {
  const { id, active, currency, metadata, nickname } = params
  return {
    id,
    active,
    currency,
    metadata,
    nickname,
    recurring: {
      interval: params.interval,
      interval_count: params.interval_count,
      trial_period_days: params.trial_period_days,
      usage_type: params.usage_type,
    },
    transform_quantity: params.transform_usage,
    unit_amount: params.amount,
    unit_amount_decimal: params.amount_decimal,
  }
}

function updatePlan(
  call: Call,
  params: z.output<typeof planUpdateParams>,
  path: PathParams,
): WirePlan {
  const before = pricePlan(call, path)
  const { product, trial_period_days: trial, metadata, ...given } = params
  if (product !== undefined) existing(call, products, product, 'product')
  const { recurring } = before
  const after = changeRow(call, prices, before.id, {
    ...givenFields({ ...given, product }),
    metadata: changeMetadata(before.metadata, metadata),
    recurring:
      recurring === null || trial === undefined
        ? recurring
        : { ...recurring, trial_period_days: trial },
  })
  emitPriceEvent(call, 'updated', after, before)
  return planOf(after)
}

function pricePlan({ account }: Call, { id = '' }: PathParams): WirePrice {
  const price = account.rows(prices).get(id)
  if (!price?.recurring) throw noSuch('plan', id, 'plan', 404)
  return price
}
