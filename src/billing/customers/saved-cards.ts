import type Stripe from 'stripe'
import { getConference } from '../../conferences/conference-store.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import {
  resource as customerResource,
  StripeCustomerAction,
} from '../../mirror/resources/customer-resource.ts'
import {
  resource as paymentMethods,
  StripePaymentMethodAction,
} from '../../mirror/resources/payment-method-resource.ts'
import type { SyncRun } from '../../mirror/runs/sync-run.ts'
import { tableOf } from '../../mirror/stripe-resource.ts'
import type { ReturnUrls } from '../../payments/payable.ts'
import type { OpenedSession, SavedCard, SavedCards } from '../../payments/payment-gateway.ts'
import { AppError, afterWrite, invalidField, notFound } from '../../shared/errors.ts'
import { makeOnce } from '../../stripe/remote-operation.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import {
  customerObject,
  defaultMethodOf,
  parseStripeObject,
  paymentMethodObject,
  sessionObject,
} from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { type CustomerRef, findSponsorCustomer, getCustomer } from './customer-store.ts'
import { ofCustomer, withCustomer } from './ensure-customer.ts'

const PAGE_SIZE = 100

/** A request of a caller that makes something at Stripe and has no row of its own. */
export type CallerRequest = {
  /** Part of the idempotency key at Stripe, so that a repeat gets the same object. */
  id: string
  isRepeat: boolean
}

/**
 * Opens a Checkout page where the payer saves a card, including the bank's authentication if it requires
 * one. Creates the customer at Stripe first if it is missing.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/payments/save-and-reuse
 */
export async function openCardSetup(
  deps: BillingDeps,
  ref: CustomerRef,
  request: CallerRequest,
  urls: ReturnUrls,
): Promise<OpenedSession> {
  const { conferenceId } = ref
  const { currency } = await withTenant(deps.db, ref, (trx) => getConference(trx, conferenceId))
  const { stripe } = await deps.clients.connect(conferenceId)
  // No `client_reference_id`: it is used for purchases only.
  const metadata = {
    customer_id: ref.customerId,
    conference_id: conferenceId,
    card_setup: request.id,
  }
  const session = await makeForCustomer(deps, ref, request, {
    send: (customer, options) =>
      stripe.checkout.sessions.create(
        {
          mode: 'setup',
          customer,
          // Stripe offers payment methods by currency.
          currency: currency.toLowerCase(),
          success_url: urls.successUrl,
          cancel_url: urls.cancelUrl,
          metadata,
          setup_intent_data: { metadata },
        },
        options,
      ),
    async find(customer) {
      const { data } = await stripe.checkout.sessions.list({ customer, limit: PAGE_SIZE })
      return data.find((one) => one.metadata?.['card_setup'] === request.id) ?? null
    },
  })
  const { id, url, expires_at: end } = parseStripeObject(sessionObject, session, 'checkout session')
  return { sessionId: id, url, expiresAt: new Date(end * 1000) }
}

/**
 * Saves a card that Stripe.js collected as the customer's. The first saved card becomes the default.
 * Creates the customer at Stripe first if it is missing.
 *
 * @returns the payment method's id, which is another one for Stripe's test cards.
 * @throws AppError `stripe_refused` for a declined card and for one of another customer;
 *   `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/api/payment_methods/attach
 */
export async function attachCard(
  deps: BillingDeps,
  ref: CustomerRef,
  request: CallerRequest,
  method: string,
): Promise<string> {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const { id } = await makeForCustomer<Stripe.PaymentMethod>(deps, ref, request, {
    send: (customer, options) => stripe.paymentMethods.attach(method, { customer }, options),
    find: (customer) => fetchOrNull(() => stripe.customers.retrievePaymentMethod(customer, method)),
  })
  await afterWrite(() => refreshCustomer(deps, ref))
  return id
}

/** Makes something of a customer at Stripe once for a caller's request. */
async function makeForCustomer<T>(
  deps: BillingDeps,
  ref: CustomerRef,
  { id, isRepeat }: CallerRequest,
  make: {
    send: (customer: string, options: Stripe.RequestOptions) => Promise<T>
    find: (customer: string) => Promise<T | null>
  },
): Promise<T> {
  const outcome = await withCustomer(deps, ref, (customer, generation) =>
    makeOnce({
      // A replaced customer needs another key, because its parameter differs.
      idempotencyKey: `${id}:${generation}`,
      askedBefore: isRepeat,
      send: (options) => ofCustomer(() => make.send(customer, options)),
      find: () => make.find(customer),
    }),
  )
  if (outcome.kind === 'made') return outcome.object
  if (!outcome.storedError) throw new AppError('stripe_refused', outcome.message)
  const detail = 'Stripe stored an error for this request. Retry it with a new Idempotency-Key.'
  throw new AppError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** Fetches a card of the customer from Stripe. @throws AppError `not_found` */
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
 * Detaches a payment method permanently: it can never be charged or saved again. If it was the default,
 * the oldest remaining one becomes the default.
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
  const requestedAt = await databaseNow(deps.db)
  const response = await callStripe(() => stripe.paymentMethods.detach(paymentMethod))
  const action = new StripePaymentMethodAction(mirrorContext(deps, ref.conferenceId))
  await action.sync(response, requestedAt)
  await afterWrite(() => refreshCustomer(deps, ref))
}

/**
 * The card to charge for a sponsor: the named one, else the default. It is fetched from Stripe, so that a
 * card that was just detached or replaced is not charged.
 *
 * @param sponsorId - null for a purchase without a sponsor.
 * @throws AppError `no_payment_method`, `validation_failed` for a card that is not the sponsor's,
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
  const response = id === null ? null : await fetchOrNull(() => stripe.customers.retrieve(id))
  const found = response === null ? null : parseStripeObject(customerObject, response, 'customer')
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
  throw invalidField('/payment_method', `The sponsor has no saved payment method "${named}".`)
}

function noCard(): AppError {
  return new AppError('no_payment_method', 'The sponsor has no saved card. Save a card first.')
}

/** The port to saved cards for purchases. */
export function createSavedCards(deps: BillingDeps): SavedCards {
  return {
    choose: (conferenceId, sponsorId, named) => chooseCard(deps, conferenceId, sponsorId, named),
  }
}

type RefreshedCustomer = {
  /** False when the customer does not exist at Stripe. */
  isAlive: boolean
  /** Number of payment methods. */
  methods: number
}

/**
 * Fetches every customer of the conference's account into the mirror, 100 a request: also those that were
 * made at Stripe and have no row here. Their cards are fetched by `refreshCustomer`.
 *
 * @returns the sync run after its end.
 * @throws AppError `sync_running`, `stripe_key_missing`, `stripe_…`
 */
export function refreshListedCustomers(
  deps: BillingDeps,
  conferenceId: string,
  signal: AbortSignal,
): Promise<SyncRun> {
  return new StripeCustomerAction(mirrorContext(deps, conferenceId)).syncAll({ signal })
}

/**
 * Fetches a customer and all its payment methods into the mirror. A customer with payment methods but no
 * default gets the oldest as its default: that is the first card that is saved, or the replacement of a
 * detached default. An existing default is never changed, also not by a card that is declined or added
 * later.
 *
 * @param isListed whether `refreshListedCustomers` has just fetched the customer itself.
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function refreshCustomer(
  deps: BillingDeps,
  ref: CustomerRef,
  isListed = false,
): Promise<RefreshedCustomer> {
  const { stripeCustomerId } = await withTenant(deps.db, ref, (trx) => getCustomer(trx, ref))
  if (stripeCustomerId === null) return { isAlive: false, methods: 0 }
  const { conferenceId } = ref
  const { stripe } = await deps.clients.connect(conferenceId)
  const customers = new StripeCustomerAction(mirrorContext(deps, conferenceId))
  const object = isListed
    ? await mirroredCustomer(deps, conferenceId, stripeCustomerId)
    : (await callStripe(() => customers.refresh(stripeCustomerId))).object
  if (object === null) return { isAlive: false, methods: 0 }
  const methods = await refreshCards(deps, stripe, conferenceId, stripeCustomerId)
  const oldest = oldestCard(methods)
  const current = defaultMethodOf(parseStripeObject(customerObject, object, 'customer'))
  if (current === null && oldest !== null) {
    await saveDefaultCard(deps, conferenceId, stripeCustomerId, oldest)
  }
  return { isAlive: true, methods: methods.length }
}

async function mirroredCustomer(
  { db }: BillingDeps,
  conferenceId: string,
  id: string,
): Promise<unknown> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx(tableOf(customerResource))
      .where({ conference_id: conferenceId, id, deleted_at: null })
      .first<{ data: unknown } | undefined>('data'),
  )
  return row?.data ?? null
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
  const mirrored = await mirroredCards(deps, conferenceId, customer)
  // The list has no detached cards; fetching them one by one removes their customer in the mirror.
  await action.syncByIds(mirrored.filter((id) => !listed.has(id)))
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
  const parsed = methods.map((method) =>
    parseStripeObject(paymentMethodObject, method, 'payment method'),
  )
  // Stripe lists the newest first, so of several cards created in one second the last is the oldest.
  const [oldest] = parsed.toReversed().toSorted((a, b) => (a.created ?? 0) - (b.created ?? 0))
  return oldest?.id ?? null
}

/** Sets the customer's default payment method at Stripe. @throws AppError `stripe_…` */
async function saveDefaultCard(
  deps: BillingDeps,
  conferenceId: string,
  customer: string,
  method: string,
): Promise<void> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const requestedAt = await databaseNow(deps.db)
  const response = await callStripe(() =>
    stripe.customers.update(customer, { invoice_settings: { default_payment_method: method } }),
  )
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(response, requestedAt)
}
