import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type PathParams,
  type Resource,
} from '../api/operations.ts'
import {
  amount,
  currency,
  decimal,
  flag,
  group,
  idOr,
  integer,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import { changeRow, givenFields } from '../core/changes.ts'
import { noSuch } from '../core/errors.ts'
import {
  checkPrice,
  emitPriceEvent,
  insertPrice,
  type PriceInput,
  planOf,
  prices,
  requireTiers,
  type WirePlan,
  type WirePrice,
} from './price.ts'
import { billingScheme, deletePrice, transformQuantity, trialDays, usageType } from './price-api.ts'
import { createProduct, inlineProductParams, priceInterval, products } from './product.ts'

/** `POST /v1/plans`. @see https://docs.stripe.com/api/plans/create */
const planCreateParams = group({
  active: flag().optional(),
  amount: amount('non-negative').optional(),
  amount_decimal: decimal().optional(),
  billing_scheme: billingScheme(),
  currency: currency(),
  id: text().optional(),
  interval: priceInterval(),
  interval_count: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  meter: unsupported('meters'),
  nickname: text().optional(),
  product: idOr(inlineProductParams),
  tiers: unsupported('tiered prices'),
  tiers_mode: unsupported('tiered prices'),
  transform_usage: transformQuantity.optional(),
  trial_period_days: trialDays(),
  usage_type: usageType(),
} satisfies ShapeOf<Stripe.PlanCreateParams>)

const planUpdateParams = group({
  active: flag().optional(),
  metadata: metadataParam().optional(),
  nickname: text().optional(),
  product: text().optional(),
  trial_period_days: trialDays(),
} satisfies ShapeOf<Stripe.PlanUpdateParams>)

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
          Boolean(price.recurring) && // a price that a test has stored can lack it
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
