import type Stripe from 'stripe'
import { withTenant } from '../../../db/tenant-scope.ts'
import { askStripe } from '../../stripe-errors.ts'
import { parseAnswer } from '../../stripe-objects.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { StripeCustomerAction } from '../../sync/resources/customers.ts'
import {
  resource as paymentMethods,
  StripePaymentMethodAction,
} from '../../sync/resources/payment-methods.ts'
import { tableOf } from '../../sync/stripe-resource.ts'
import { type BillingDeps, mirrorContext } from './billing-deps.ts'
import type { CustomerRef } from './customer.ts'
import { customerObject, defaultMethodOf, paymentMethodObject } from './customer-objects.ts'
import { getCustomer } from './customer-store.ts'

export type RefreshedCustomer = {
  /** False when Stripe has the customer no more, or none was ever made. */
  isAlive: boolean
  /** Payment methods that it has now. */
  methods: number
}

const PAGE = 100

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
  const { object } = await askStripe(() => customers.refresh(stripeCustomerId))
  if (object === null) return { isAlive: false, methods: 0 }
  const methods = await refreshMethods(deps, stripe, conferenceId, stripeCustomerId)
  const oldest = oldestOf(methods)
  const current = defaultMethodOf(parseAnswer(customerObject, object, 'customer'))
  if (current === null && oldest !== null) {
    await saveDefault(deps, conferenceId, stripeCustomerId, oldest)
  }
  return { isAlive: true, methods: methods.length }
}

async function refreshMethods(
  deps: BillingDeps,
  stripe: Stripe,
  conferenceId: string,
  customer: string,
): Promise<Stripe.PaymentMethod[]> {
  const action = new StripePaymentMethodAction(mirrorContext(deps, conferenceId))
  const readAt = await readingTime(deps.db)
  const methods = await askStripe(() =>
    stripe.customers.listPaymentMethods(customer, { limit: PAGE }).autoPagingToArray({
      limit: 10_000,
    }),
  )
  await action.syncBatch(methods, readAt)
  const listed = new Set(methods.map(({ id }) => id))
  const known = await knownMethods(deps, conferenceId, customer)
  // What was detached is in no list; reading it takes the customer off it.
  await action.syncByIds(known.filter((id) => !listed.has(id)))
  return methods
}

async function knownMethods(
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

function oldestOf(methods: readonly Stripe.PaymentMethod[]): string | null {
  const read = methods.map((method) => parseAnswer(paymentMethodObject, method, 'payment method'))
  // Of one second, the last of the list: Stripe lists the newest first.
  const [oldest] = read.toReversed().toSorted((a, b) => (a.created ?? 0) - (b.created ?? 0))
  return oldest?.id ?? null
}

/** Makes a payment method of the customer the one that is charged. @throws AppError `stripe_…` */
export async function saveDefault(
  deps: BillingDeps,
  conferenceId: string,
  customer: string,
  method: string,
): Promise<void> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const answer = await askStripe(() =>
    stripe.customers.update(customer, { invoice_settings: { default_payment_method: method } }),
  )
  await new StripeCustomerAction(mirrorContext(deps, conferenceId)).sync(answer)
}
