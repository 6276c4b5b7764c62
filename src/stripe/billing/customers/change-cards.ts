import { withTenant } from '../../../db/tenant-scope.ts'
import type { SavedCard, SavedCards } from '../../../purchases/payment-gateway.ts'
import { AppError, notFound } from '../../../shared/errors.ts'
import { askStripe, orNull } from '../../stripe-errors.ts'
import { parseAnswer } from '../../stripe-objects.ts'
import { StripePaymentMethodAction } from '../../sync/resources/payment-methods.ts'
import { type BillingDeps, mirrorContext } from './billing-deps.ts'
import type { CustomerRef } from './customer.ts'
import { customerObject, defaultMethodOf } from './customer-objects.ts'
import { findSponsorCustomer, getCustomer } from './customer-store.ts'
import { refreshCustomer, saveDefault } from './refresh-customer.ts'

/** @throws AppError `not_found` unless Stripe says that the method is this customer's. */
async function findCard(deps: BillingDeps, ref: CustomerRef, method: string): Promise<SavedCard> {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const { stripeCustomerId } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  const found =
    stripeCustomerId === null
      ? null
      : await orNull(() => stripe.customers.retrievePaymentMethod(stripeCustomerId, method))
  if (stripeCustomerId === null || found === null) throw notFound('payment method')
  return { customer: stripeCustomerId, paymentMethod: found.id }
}

/** @throws AppError `not_found`, `stripe_key_missing`, `stripe_…` */
export async function makeDefault(
  deps: BillingDeps,
  ref: CustomerRef,
  method: string,
): Promise<void> {
  const { customer, paymentMethod } = await findCard(deps, ref, method)
  await saveDefault(deps, ref.conferenceId, customer, paymentMethod)
}

/**
 * Takes a payment method off its customer for good: it can never be charged or saved again. When it
 * was the default, the oldest of the others takes its place.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function detachCard(
  deps: BillingDeps,
  ref: CustomerRef,
  method: string,
): Promise<void> {
  const { paymentMethod } = await findCard(deps, ref, method)
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const answer = await askStripe(() => stripe.paymentMethods.detach(paymentMethod))
  await new StripePaymentMethodAction(mirrorContext(deps, ref.conferenceId)).sync(answer)
  await refreshCustomer(deps, ref)
}

/**
 * The card that a sponsor's payment goes to: the one that is named, else the default. Asked of
 * Stripe, so that one that was detached or replaced a moment ago is not charged.
 *
 * @param sponsorId null for a purchase that is nobody's.
 * @throws AppError `no_payment_method`, `validation_failed` for one that is not the sponsor's,
 *   `stripe_key_missing`, `stripe_…`
 */
export async function chooseCard(
  deps: BillingDeps,
  conferenceId: string,
  sponsorId: string | null,
  named: string | null,
): Promise<SavedCard> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const customer =
    sponsorId === null
      ? null
      : await withTenant(deps.db, { conferenceId }, (trx) =>
          findSponsorCustomer(trx, conferenceId, sponsorId),
        )
  const id = customer?.stripeCustomerId ?? null
  const answer = id === null ? null : await orNull(() => stripe.customers.retrieve(id))
  const found = answer === null ? null : parseAnswer(customerObject, answer, 'customer')
  if (id === null || found === null || found.deleted === true) throw noCard()
  if (named !== null) return namedCard(deps, conferenceId, id, named)
  const paymentMethod = defaultMethodOf(found)
  if (paymentMethod === null) throw noCard()
  return { customer: id, paymentMethod }
}

async function namedCard(
  deps: BillingDeps,
  conferenceId: string,
  customer: string,
  named: string,
): Promise<SavedCard> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const found = await orNull(() => stripe.customers.retrievePaymentMethod(customer, named))
  if (found !== null) return { customer, paymentMethod: found.id }
  const detail = 'is not a saved payment method of this sponsor'
  throw new AppError('validation_failed', `/payment_method ${detail}`, {
    errors: [{ pointer: '/payment_method', detail }],
  })
}

function noCard(): AppError {
  return new AppError('no_payment_method', 'The sponsor has no saved card: save one first.')
}

/** The saved cards as purchases see them. */
export function createSavedCards(deps: BillingDeps): SavedCards {
  return {
    choose: (conferenceId, sponsorId, named) => chooseCard(deps, conferenceId, sponsorId, named),
  }
}
