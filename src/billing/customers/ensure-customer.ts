import Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import { AppError, afterWrite } from '../../shared/errors.ts'
import { getSponsor } from '../../sponsors/sponsor-store.ts'
import { type BillingDeps, mirrorAnswer, mirrorContext } from '../billing-deps.ts'
import { makeRecorded } from '../make-recorded.ts'
import {
  type Customer,
  type CustomerDetails,
  type CustomerParams,
  type CustomerRef,
  findUnsavedCustomer,
  getCustomer,
  isDeletedAtStripe,
  noteCustomerRequest,
  renewIdempotencyKey,
  saveCustomerDetails,
  saveStripeId,
} from './customer-store.ts'

/** Our clock and Stripe's may differ by this much. */
const CLOCK_MARGIN_SECONDS = 600

/**
 * The customer's id at Stripe. Creates the customer there if it is missing. Concurrent calls, in any
 * number of processes, create one customer, since the row with the idempotency key exists already.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function ensureCustomer(deps: BillingDeps, ref: CustomerRef): Promise<string> {
  const customer = await loadCustomer(deps, ref)
  if (customer.stripeCustomerId !== null) return customer.stripeCustomerId
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const requestedAt = await databaseNow(deps.db)
  let { generation } = customer
  const renewKey = (trx: Tx) => renewIdempotencyKey(trx, ref, generation++)
  const outcome = await makeRecorded<Stripe.Customer>(deps.db, ref, {
    noteRequest: (trx) => noteCustomerRequest(trx, ref),
    send: (options) => stripe.customers.create(createParams(customer), options),
    find: () => findAtStripe(stripe, customer),
    saveMade: (trx, { id }) => saveStripeId(trx, ref, id),
    // The next creation may send another name or address.
    saveRefusal: renewKey,
    renewKey,
  })
  if (outcome.kind === 'refused') throw new AppError('stripe_refused', outcome.message)
  const { object } = outcome
  const action = new StripeCustomerAction(mirrorContext(deps, ref.conferenceId))
  await afterWrite(() => mirrorAnswer(action, object, requestedAt))
  // A concurrent call may have renewed the key and saved another customer's id.
  const saved = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  return saved.stripeCustomerId ?? object.id
}

/** The row, corrected from the mirror: the customer may be deleted, or its id may never have been saved. */
function loadCustomer({ db }: BillingDeps, ref: CustomerRef): Promise<Customer> {
  return withTenant(db, ref, async (trx) => {
    const customer = await getCustomer(trx, ref)
    const { stripeCustomerId } = customer
    if (stripeCustomerId !== null) {
      if (!(await isDeletedAtStripe(trx, ref.conferenceId, stripeCustomerId))) return customer
      await renewIdempotencyKey(trx, ref, customer.generation)
      return withPresentDetails(trx, await getCustomer(trx, ref))
    }
    const unsaved = await findUnsavedCustomer(trx, ref)
    if (unsaved === null) return withPresentDetails(trx, customer)
    await saveStripeId(trx, ref, unsaved)
    return getCustomer(trx, ref)
  })
}

/** The sponsor may have changed since the row was made. A request that was sent is repeated as it was. */
async function withPresentDetails(trx: Tx, customer: Customer): Promise<Customer> {
  if (customer.triedAt !== null) return customer
  const { conferenceId, id, own } = customer
  const params = await presentDetails(trx, customer, own)
  await saveCustomerDetails(trx, { conferenceId, customerId: id }, { own, params })
  return { ...customer, params }
}

/** The name and address that the customer should have at Stripe: its own, else the sponsor's. */
export async function presentDetails(
  trx: Tx,
  { conferenceId, sponsorId }: Customer,
  own: CustomerDetails,
): Promise<CustomerParams> {
  const sponsor = await getSponsor(trx, conferenceId, sponsorId)
  return { name: own.name ?? sponsor.name, email: own.email ?? sponsor.contactEmail }
}

const createParams = (customer: Customer): Stripe.CustomerCreateParams => ({
  name: customer.params.name,
  ...(customer.params.email === null ? {} : { email: customer.params.email }),
  metadata: {
    customer_id: customer.id,
    conference_id: customer.conferenceId,
    sponsor_id: customer.sponsorId,
  },
})

/** The customer that an earlier request created, or null. Only recent customers are listed. */
async function findAtStripe(
  stripe: Stripe,
  { id, params, triedAt }: Customer,
): Promise<Stripe.Customer | null> {
  const since = Math.floor((triedAt ?? new Date()).getTime() / 1000) - CLOCK_MARGIN_SECONDS
  const recent = stripe.customers.list({
    created: { gte: since },
    limit: 100,
    ...(params.email === null ? {} : { email: params.email }),
  })
  for await (const found of recent) if (found.metadata['customer_id'] === id) return found
  return null
}

/** The customer does not exist at Stripe any more. */
class MissingCustomer extends Error {
  override readonly name = 'MissingCustomer'
}

/** Runs a request about a customer, so that `withCustomer` recognises that the customer is missing. */
export async function ofCustomer<T>(request: () => Promise<T>): Promise<T> {
  try {
    return await request()
  } catch (error) {
    const isMissingParam =
      error instanceof Stripe.errors.StripeError &&
      error.code === 'resource_missing' &&
      (error.param === 'customer' || error.param === 'id')
    throw isMissingParam ? new MissingCustomer(error.message) : error
  }
}

/**
 * Runs `work` with the customer's id at Stripe. A customer that was deleted there is replaced once; its
 * cards were deleted with it.
 *
 * @param work - its requests run within `ofCustomer`.
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
    if (!(error instanceof MissingCustomer)) throw error
    const action = new StripeCustomerAction(mirrorContext(deps, ref.conferenceId))
    await action.softDelete(id, requestedAt)
    const renewed = await ensureCustomer(deps, ref)
    const { generation } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
    return work(renewed, generation)
  }
}
