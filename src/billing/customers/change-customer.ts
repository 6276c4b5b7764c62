import { getConference } from '../../conferences/conference-store.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import { afterWrite, isFinalRefusal } from '../../shared/errors.ts'
import { toAppError } from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorAnswer, mirrorContext } from '../billing-deps.ts'
import {
  type CustomerDetails,
  type CustomerParams,
  type CustomerRef,
  findSponsorCustomer,
  getCustomer,
  saveCustomerDetails,
} from './customer-store.ts'
import { ofCustomer, presentDetails, withCustomer } from './ensure-customer.ts'

/** Absent: unchanged. Null: the sponsor's again. */
export type CustomerChanges = { [Detail in keyof CustomerDetails]?: string | null | undefined }

/**
 * Changes a customer's name or address here and at Stripe, where the customer is created if it is
 * missing. It may be repeated.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function changeCustomer(
  deps: BillingDeps,
  ref: CustomerRef,
  changes: CustomerChanges,
): Promise<void> {
  try {
    await withCustomer(deps, ref, (id) => pushDetails(deps, ref, id, changes))
  } catch (error) {
    throw toAppError(error)
  }
}

/**
 * The job that follows a change of a sponsor's name or address: brings its customer up to date at Stripe.
 * A sponsor without a customer at Stripe needs nothing: its creation sends the present values.
 *
 * @throws AppError `stripe_…`; then the job is retried.
 */
export async function updateSponsorCustomer(
  deps: BillingDeps,
  conferenceId: string,
  sponsorId: string,
): Promise<void> {
  const customer = await withTenant(deps.db, { conferenceId }, async (trx) => {
    const { stripeKeySetAt } = await getConference(trx, conferenceId)
    return stripeKeySetAt === null ? null : findSponsorCustomer(trx, conferenceId, sponsorId)
  })
  // With a request whose outcome is unknown, the customer may exist at Stripe under the old name.
  if (customer === null || (customer.stripeCustomerId === null && customer.triedAt === null)) return
  try {
    await changeCustomer(deps, { conferenceId, customerId: customer.id }, {})
  } catch (error) {
    if (!isFinalRefusal(error)) throw error
    deps.logger.warn(
      { conference: conferenceId, customer: customer.id, error: error.message },
      "Stripe refused the sponsor's new name or address for its customer",
    )
  }
}

/** Sends the details to Stripe unless the last request sent the same. */
async function pushDetails(
  deps: BillingDeps,
  ref: CustomerRef,
  stripeCustomerId: string,
  changes: CustomerChanges,
): Promise<void> {
  const { customer, own, params } = await withTenant(deps.db, ref, async (trx) => {
    const found = await getCustomer(trx, ref)
    const details: CustomerDetails = {
      name: changes.name === undefined ? found.own.name : changes.name,
      email: changes.email === undefined ? found.own.email : changes.email,
    }
    const wanted = await presentDetails(trx, found, details)
    return { customer: found, own: details, params: wanted }
  })
  const save = () =>
    withTenant(deps.db, ref, (trx) => saveCustomerDetails(trx, ref, { own, params }))
  if (isSame(customer.params, params)) return save()
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const requestedAt = await databaseNow(deps.db)
  const response = await ofCustomer(() =>
    stripe.customers.update(stripeCustomerId, { name: params.name, email: params.email ?? '' }),
  )
  await save()
  const action = new StripeCustomerAction(mirrorContext(deps, ref.conferenceId))
  await afterWrite(() => mirrorAnswer(action, response, requestedAt))
}

const isSame = (a: CustomerParams, b: CustomerParams) => a.name === b.name && a.email === b.email
