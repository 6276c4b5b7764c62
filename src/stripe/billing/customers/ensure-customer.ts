import { setTimeout as delay } from 'node:timers/promises'
import Stripe from 'stripe'
import { withTenant } from '../../../db/tenant-scope.ts'
import { isStoredError } from '../../checkout.ts'
import { toAppError } from '../../stripe-errors.ts'
import { parseAnswer } from '../../stripe-objects.ts'
import { StripeCustomerAction } from '../../sync/resources/customers.ts'
import { type BillingDeps, mirrorContext } from './billing-deps.ts'
import type { Customer, CustomerRef } from './customer.ts'
import { customerObject } from './customer-objects.ts'
import {
  findOrphan,
  getCustomer,
  isDeletedAtStripe,
  renewKey,
  saveStripeId,
} from './customer-store.ts'

// Another process may be making the customer under the same key; Stripe answers 409 meanwhile.
const LOOKS = 10
const LOOK_AGAIN_MS = 250

/**
 * The customer's id at Stripe, made there when it has none. Any number of parallel calls, in any
 * number of processes, make one: the row was there first and carries the key.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function ensureCustomer(deps: BillingDeps, ref: CustomerRef): Promise<string> {
  for (let look = 1; ; look += 1) {
    const customer = await lookUp(deps, ref)
    if (customer.stripeCustomerId !== null) return customer.stripeCustomerId
    try {
      return await create(deps, customer)
    } catch (error) {
      // Stripe would answer with the error that it keeps under the key for a day.
      if (isStoredError(error)) await withTenant(deps.db, ref, (trx) => renewKey(trx, customer))
      else if (isBusy(error)) await delay(LOOK_AGAIN_MS)
      else throw toAppError(error)
      if (look === LOOKS) throw toAppError(error)
    }
  }
}

/** The row, with what the mirror knows: a customer that was deleted, or one that was never noted. */
function lookUp({ db }: BillingDeps, ref: CustomerRef): Promise<Customer> {
  return withTenant(db, ref, async (trx) => {
    const customer = await getCustomer(trx, ref)
    const { stripeCustomerId: known } = customer
    if (known !== null) {
      if (!(await isDeletedAtStripe(trx, ref.conferenceId, known))) return customer
      await renewKey(trx, customer)
      return getCustomer(trx, ref)
    }
    const orphan = await findOrphan(trx, ref)
    if (orphan === null) return customer
    await saveStripeId(trx, ref, orphan)
    return getCustomer(trx, ref)
  })
}

async function create(deps: BillingDeps, customer: Customer): Promise<string> {
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
  const { id } = parseAnswer(customerObject, answer, 'customer')
  await withTenant(deps.db, ref, (trx) => saveStripeId(trx, ref, id))
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(answer)
  // A call that was faster may have written another customer's id, after this one's key was renewed.
  const saved = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  return saved.stripeCustomerId ?? id
}

function isBusy(error: unknown): boolean {
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
