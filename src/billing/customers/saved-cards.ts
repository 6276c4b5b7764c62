import type Stripe from 'stripe'
import { getConference } from '../../conferences/conference-store.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import {
  resource as paymentMethods,
  StripePaymentMethodAction,
} from '../../mirror/resources/payment-method-resource.ts'
import { tableOf } from '../../mirror/stripe-resource.ts'
import type { SavedCard, SavedCards } from '../../payments/payment-gateway.ts'
import type { ReturnUrls } from '../../payments/return-urls.ts'
import { AppError, notFound } from '../../shared/errors.ts'
import { isStoredError } from '../../stripe/stripe-checkout.ts'
import { callStripe, fetchOrNull, toAppError } from '../../stripe/stripe-errors.ts'
import {
  customerObject,
  defaultMethodOf,
  parseStripeObject,
  paymentMethodObject,
  sessionObject,
} from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { type CustomerRef, findSponsorCustomer, getCustomer } from './customer-store.ts'
import { withCustomer } from './ensure-customer.ts'

export type OpenCardSetup = { url: string | null; session_id: string; expires_at: Date }

/**
 * The address of a page of Stripe's where a card is saved for later, with the bank's authentication
 * where it wants one. Makes the customer at Stripe first when there is none.
 *
 * @param setupId names this request: a repeat gets the same page.
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/payments/save-and-reuse
 */
export async function openCardSetup(
  deps: BillingDeps,
  ref: CustomerRef,
  setupId: string,
  urls: ReturnUrls,
): Promise<OpenCardSetup> {
  const { conferenceId } = ref
  const { currency } = await withTenant(deps.db, ref, (trx) => getConference(trx, conferenceId))
  const { stripe } = await deps.clients.connect(conferenceId)
  // Not `client_reference_id`: that names purchases.
  const metadata = { customer_id: ref.customerId, conference_id: conferenceId }
  const open = (customer: string, generation: number) =>
    stripe.checkout.sessions.create(
      {
        mode: 'setup',
        customer,
        // Stripe chooses the kinds of payment methods by it.
        currency: currency.toLowerCase(),
        success_url: urls.successUrl,
        cancel_url: urls.cancelUrl,
        metadata,
        setup_intent_data: { metadata },
      },
      { idempotencyKey: `${setupId}:${generation}` },
    )
  try {
    const session = parseStripeObject(sessionObject, await withCustomer(deps, ref, open), 'session')
    return {
      url: session.url,
      session_id: session.id,
      expires_at: new Date(session.expires_at * 1000),
    }
  } catch (error) {
    if (!isStoredError(error)) throw toAppError(error)
    const detail = 'Stripe failed and keeps that answer. Ask again under another Idempotency-Key.'
    throw new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
  }
}

/** @throws AppError `not_found` unless Stripe says that the method is this customer's. */
async function findCard(deps: BillingDeps, ref: CustomerRef, method: string): Promise<SavedCard> {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const { stripeCustomerId } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  const found =
    stripeCustomerId === null
      ? null
      : await fetchOrNull(() => stripe.customers.retrievePaymentMethod(stripeCustomerId, method))
  if (stripeCustomerId === null || found === null) throw notFound('payment method')
  return { customer: stripeCustomerId, paymentMethod: found.id }
}

/** @throws AppError `not_found`, `stripe_key_missing`, `stripe_…` */
export async function setDefaultCard(
  deps: BillingDeps,
  ref: CustomerRef,
  method: string,
): Promise<void> {
  const { customer, paymentMethod } = await findCard(deps, ref, method)
  await saveDefaultCard(deps, ref.conferenceId, customer, paymentMethod)
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
  const answer = await callStripe(() => stripe.paymentMethods.detach(paymentMethod))
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
  const answer = id === null ? null : await fetchOrNull(() => stripe.customers.retrieve(id))
  const found = answer === null ? null : parseStripeObject(customerObject, answer, 'customer')
  if (id === null || found === null || found.deleted === true) throw noCard()
  if (named !== null) return fetchNamedCard(deps, conferenceId, id, named)
  const paymentMethod = defaultMethodOf(found)
  if (paymentMethod === null) throw noCard()
  return { customer: id, paymentMethod }
}

async function fetchNamedCard(
  deps: BillingDeps,
  conferenceId: string,
  customer: string,
  named: string,
): Promise<SavedCard> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const found = await fetchOrNull(() => stripe.customers.retrievePaymentMethod(customer, named))
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

export type RefreshedCustomer = {
  /** False when Stripe has the customer no more, or none was ever made. */
  isAlive: boolean
  /** Payment methods that it has now. */
  methods: number
}

const PAGE_SIZE = 100

/**
 * Reads a customer and all of its payment methods from Stripe into the mirror. When it has methods
 * but none that is its default, the oldest becomes it: the first that is saved, and whichever takes
 * the place of one that was detached. A default that is there is never changed, so a card that is
 * declined, or is added later, hides nothing.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function refreshCustomer(
  deps: BillingDeps,
  ref: CustomerRef,
): Promise<RefreshedCustomer> {
  const { stripeCustomerId } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  if (stripeCustomerId === null) return { isAlive: false, methods: 0 }
  const { conferenceId } = ref
  const context = mirrorContext(deps, conferenceId)
  const { stripe } = await deps.clients.connect(conferenceId)
  const customers = new StripeCustomerAction(context)
  const { object } = await callStripe(() => customers.refresh(stripeCustomerId))
  if (object === null) return { isAlive: false, methods: 0 }
  const methods = await refreshCards(deps, stripe, conferenceId, stripeCustomerId)
  const oldest = oldestCard(methods)
  const current = defaultMethodOf(parseStripeObject(customerObject, object, 'customer'))
  if (current === null && oldest !== null) {
    await saveDefaultCard(deps, conferenceId, stripeCustomerId, oldest)
  }
  return { isAlive: true, methods: methods.length }
}

async function refreshCards(
  deps: BillingDeps,
  stripe: Stripe,
  conferenceId: string,
  customer: string,
): Promise<Stripe.PaymentMethod[]> {
  const action = new StripePaymentMethodAction(mirrorContext(deps, conferenceId))
  const readAt = await databaseNow(deps.db)
  const methods = await callStripe(() =>
    stripe.customers.listPaymentMethods(customer, { limit: PAGE_SIZE }).autoPagingToArray({
      limit: 10_000,
    }),
  )
  await action.syncBatch(methods, readAt)
  const listed = new Set(methods.map(({ id }) => id))
  const known = await mirroredCards(deps, conferenceId, customer)
  // What was detached is in no list; reading it takes the customer off it.
  await action.syncByIds(known.filter((id) => !listed.has(id)))
  return methods
}

async function mirroredCards(
  { db }: BillingDeps,
  conferenceId: string,
  customer: string,
): Promise<string[]> {
  const rows = await withTenant(db, { conferenceId }, (trx) =>
    trx(tableOf(paymentMethods))
      .where({ conference_id: conferenceId, customer, deleted_at: null })
      .select<{ id: string }[]>('id'),
  )
  return rows.map(({ id }) => id)
}

function oldestCard(methods: readonly Stripe.PaymentMethod[]): string | null {
  const read = methods.map((method) =>
    parseStripeObject(paymentMethodObject, method, 'payment method'),
  )
  // Of one second, the last of the list: Stripe lists the newest first.
  const [oldest] = read.toReversed().toSorted((a, b) => (a.created ?? 0) - (b.created ?? 0))
  return oldest?.id ?? null
}

/** Makes a payment method of the customer the one that is charged. @throws AppError `stripe_…` */
async function saveDefaultCard(
  deps: BillingDeps,
  conferenceId: string,
  customer: string,
  method: string,
): Promise<void> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const answer = await callStripe(() =>
    stripe.customers.update(customer, { invoice_settings: { default_payment_method: method } }),
  )
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(answer)
}
