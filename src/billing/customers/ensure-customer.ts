import { setTimeout as delay } from 'node:timers/promises'
import Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import { isStoredError, toAppError } from '../../stripe/stripe-errors.ts'
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

// Stripe responds with 409 while another process creates the customer with the same key.
const MAX_ATTEMPTS = 10
const RETRY_MS = 250

/**
 * The customer's id at Stripe. Creates the customer there if it is missing. Concurrent calls, in any
 * number of processes, create one customer, since the row with the idempotency key exists already.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function ensureCustomer(deps: BillingDeps, ref: CustomerRef): Promise<string> {
  for (let attempt = 1; ; attempt += 1) {
    const customer = await loadCustomer(deps, ref)
    if (customer.stripeCustomerId !== null) return customer.stripeCustomerId
    try {
      return await createAtStripe(deps, customer)
    } catch (error) {
      // Stripe would replay the stored error for a day.
      if (isStoredError(error))
        await withTenant(deps.db, ref, (trx) => renewIdempotencyKey(trx, customer))
      else if (isKeyInUse(error)) await delay(RETRY_MS)
      else throw toAppError(error)
      if (attempt === MAX_ATTEMPTS) throw toAppError(error)
    }
  }
}

/** The row, corrected from the mirror: the customer may be deleted, or its id may never have been saved. */
function loadCustomer({ db }: BillingDeps, ref: CustomerRef): Promise<Customer> {
  return withTenant(db, ref, async (trx) => {
    const customer = await getCustomer(trx, ref)
    const { stripeCustomerId } = customer
    if (stripeCustomerId !== null) {
      if (!(await isDeletedAtStripe(trx, ref.conferenceId, stripeCustomerId))) return customer
      await renewIdempotencyKey(trx, customer)
      return getCustomer(trx, ref)
    }
    const unsaved = await findUnsavedCustomer(trx, ref)
    if (unsaved === null) return customer
    await saveStripeId(trx, ref, unsaved)
    return getCustomer(trx, ref)
  })
}

async function createAtStripe(deps: BillingDeps, customer: Customer): Promise<string> {
  const { conferenceId, params } = customer
  const ref = { conferenceId, customerId: customer.id }
  const { stripe } = await deps.clients.connect(conferenceId)
  const requestedAt = await databaseNow(deps.db)
  const response = await stripe.customers.create(
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
  const { id } = parseStripeObject(customerObject, response, 'customer')
  await withTenant(deps.db, ref, (trx) => saveStripeId(trx, ref, id))
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(response, requestedAt)
  // A concurrent call may have renewed the key and saved another customer's id.
  const saved = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  return saved.stripeCustomerId ?? id
}

function isKeyInUse(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeError && error.statusCode === 409
}

/**
 * Runs `work` with the customer's id at Stripe. A customer that was deleted there is replaced once; its
 * cards were deleted with it.
 */
export async function withCustomer<T>(
  deps: BillingDeps,
  ref: CustomerRef,
  work: (stripeCustomerId: string, generation: number) => Promise<T>,
): Promise<T> {
  const id = await ensureCustomer(deps, ref)
  const before = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  const requestedAt = await databaseNow(deps.db)
  try {
    return await work(id, before.generation)
  } catch (error) {
    if (!isMissingCustomer(error)) throw error
    const action = new StripeCustomerAction(mirrorContext(deps, ref.conferenceId))
    await action.softDelete(id, requestedAt)
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
