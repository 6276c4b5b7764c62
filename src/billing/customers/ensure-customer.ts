import { setTimeout as delay } from 'node:timers/promises'
import Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import { isStoredError } from '../../stripe/stripe-checkout.ts'
import { toAppError } from '../../stripe/stripe-errors.ts'
import { customerObject, parseStripeObject } from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import {
  type Customer,
  type CustomerRef,
  findUnsavedCustomer,
  getCustomer,
  isDeletedAtStripe,
  renewIdempotencyKey,
  saveStripeId,
} from './customer-store.ts'

// Another process may be making the customer under the same key; Stripe answers 409 meanwhile.
const MAX_ATTEMPTS = 10
const RETRY_MS = 250

/**
 * The customer's id at Stripe, made there when it has none. Any number of parallel calls, in any
 * number of processes, make one: the row was there first and carries the key.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function ensureCustomer(deps: BillingDeps, ref: CustomerRef): Promise<string> {
  for (let look = 1; ; look += 1) {
    const customer = await loadCustomer(deps, ref)
    if (customer.stripeCustomerId !== null) return customer.stripeCustomerId
    try {
      return await createAtStripe(deps, customer)
    } catch (error) {
      // Stripe would answer with the error that it keeps under the key for a day.
      if (isStoredError(error))
        await withTenant(deps.db, ref, (trx) => renewIdempotencyKey(trx, customer))
      else if (isKeyInUse(error)) await delay(RETRY_MS)
      else throw toAppError(error)
      if (look === MAX_ATTEMPTS) throw toAppError(error)
    }
  }
}

/** The row, with what the mirror knows: a customer that was deleted, or one that was never noted. */
function loadCustomer({ db }: BillingDeps, ref: CustomerRef): Promise<Customer> {
  return withTenant(db, ref, async (trx) => {
    const customer = await getCustomer(trx, ref)
    const { stripeCustomerId: known } = customer
    if (known !== null) {
      if (!(await isDeletedAtStripe(trx, ref.conferenceId, known))) return customer
      await renewIdempotencyKey(trx, customer)
      return getCustomer(trx, ref)
    }
    const orphan = await findUnsavedCustomer(trx, ref)
    if (orphan === null) return customer
    await saveStripeId(trx, ref, orphan)
    return getCustomer(trx, ref)
  })
}

async function createAtStripe(deps: BillingDeps, customer: Customer): Promise<string> {
  const { conferenceId, params } = customer
  const ref = { conferenceId, customerId: customer.id }
  const { stripe } = await deps.clients.connect(conferenceId)
  const answer = await stripe.customers.create(
    {
      name: params.name,
      ...(params.email === null ? {} : { email: params.email }),
      metadata: {
        customer_id: customer.id,
        conference_id: conferenceId,
        sponsor_id: customer.sponsorId,
      },
    },
    { idempotencyKey: customer.idempotencyKey },
  )
  const { id } = parseStripeObject(customerObject, answer, 'customer')
  await withTenant(deps.db, ref, (trx) => saveStripeId(trx, ref, id))
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(answer)
  // A call that was faster may have written another customer's id, after this one's key was renewed.
  const saved = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  return saved.stripeCustomerId ?? id
}

function isKeyInUse(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeError && error.statusCode === 409
}

/**
 * Runs `work` with the customer at Stripe. One that was deleted there is replaced, once: its cards
 * are gone with it.
 */
export async function withCustomer<T>(
  deps: BillingDeps,
  ref: CustomerRef,
  work: (stripeCustomerId: string, generation: number) => Promise<T>,
): Promise<T> {
  const id = await ensureCustomer(deps, ref)
  const before = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  try {
    return await work(id, before.generation)
  } catch (error) {
    if (!isMissingCustomer(error)) throw error
    await new StripeCustomerAction(mirrorContext(deps, ref.conferenceId)).softDelete(id)
    const renewed = await ensureCustomer(deps, ref)
    const { generation } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
    return work(renewed, generation)
  }
}

function isMissingCustomer(error: unknown): boolean {
  return (
    error instanceof Stripe.errors.StripeError &&
    error.code === 'resource_missing' &&
    (error.param === 'customer' || error.statusCode === 404)
  )
}
