import { getConference } from '../../../conferences/conference-store.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { ReturnUrls } from '../../../purchases/return-urls.ts'
import { AppError } from '../../../shared/errors.ts'
import { isStoredError } from '../../checkout.ts'
import { toAppError } from '../../stripe-errors.ts'
import { parseAnswer, sessionObject } from '../../stripe-objects.ts'
import type { BillingDeps } from './billing-deps.ts'
import type { CustomerRef } from './customer.ts'
import { withCustomer } from './ensure-customer.ts'

export type OpenSetup = { url: string | null; session_id: string; expires_at: Date }

/**
 * The address of a page of Stripe's where a card is saved for later, with the bank's authentication
 * where it wants one. Makes the customer at Stripe first when there is none.
 *
 * @param setupId names this request: a repeat gets the same page.
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 * @see https://docs.stripe.com/payments/save-and-reuse
 */
export async function openSetup(
  deps: BillingDeps,
  ref: CustomerRef,
  setupId: string,
  urls: ReturnUrls,
): Promise<OpenSetup> {
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
    const session = parseAnswer(sessionObject, await withCustomer(deps, ref, open), 'session')
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
