import Stripe from 'stripe'
import { z } from 'zod'
import { toStripeAmount } from '../../../shared/money.ts'
import { isStoredError } from '../../checkout.ts'
import { isRefusal, orNull, refusalMessage, toAppError } from '../../stripe-errors.ts'
import { parseAnswer } from '../../stripe-objects.ts'
import type { Plan } from './plan.ts'

export type PlanOrdered =
  | { kind: 'created'; productId: string; priceId: string }
  /** Stripe will not make it, whenever it is asked. */
  | { kind: 'refused'; message: string }
  /** Stripe keeps an error under the attempt's key and has made nothing. */
  | { kind: 'stored_error'; message: string }

const productObject = z.object({
  id: z.string().min(1),
  default_price: z.union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)]),
})

/**
 * Product and price come from one request, so that there is never one without the other. The
 * product's id is the plan's: a second one cannot be made, however long ago the first was.
 *
 * The trial is no part of the price: Stripe wants it from each subscription.
 *
 * @see https://docs.stripe.com/api/products/create
 */
function productParams(plan: Plan): Stripe.ProductCreateParams {
  const own = { conference_id: plan.conferenceId, plan_id: plan.id }
  return {
    id: plan.id,
    name: plan.name,
    metadata: { ...plan.metadata, ...own },
    default_price_data: {
      currency: plan.currency.toLowerCase(),
      unit_amount: toStripeAmount(plan.amount, plan.currency),
      recurring: { interval: plan.interval, interval_count: plan.intervalCount },
      metadata: own,
    },
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeError && error.code === 'resource_already_exists'
}

/** Makes the plan at Stripe, or finds the one that an earlier try made. @throws AppError `stripe_…` */
export async function orderPlan(stripe: Stripe, plan: Plan): Promise<PlanOrdered> {
  const idempotencyKey = `plan:${plan.id}:create:${plan.attempt}`
  try {
    return created(await stripe.products.create(productParams(plan), { idempotencyKey }))
  } catch (error) {
    if (isTaken(error) || isStoredError(error)) {
      const product = await orNull(() => stripe.products.retrieve(plan.id))
      if (product !== null) return created(product)
      if (isStoredError(error)) return { kind: 'stored_error', message: refusalMessage(error) }
    }
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

function created(answer: unknown): PlanOrdered {
  const { id, default_price: priceId } = parseAnswer(productObject, answer, 'product with a price')
  return { kind: 'created', productId: id, priceId }
}
