import type Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import type { ReturnUrls } from '../../payments/return-urls.ts'
import { toStripeAmount } from '../../shared/money.ts'
import { isStoredError } from '../../stripe/stripe-checkout.ts'
import { isRefusal, refusalMessage, toAppError } from '../../stripe/stripe-errors.ts'
import { parseStripeObject, sessionObject } from '../../stripe/stripe-objects.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { ensureCustomer } from '../customers/ensure-customer.ts'
import { type ChargeAttempt, updateAttempt } from './charge-attempt-store.ts'
import { type Charge, type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { updateChargeStatus } from './reconcile-charge.ts'

type OpenedCheckout =
  | { kind: 'opened'; sessionId: string; url: string | null; expiresAt: Date }
  | { kind: 'refused'; message: string }

/** @see https://docs.stripe.com/api/checkout/sessions/create */
function chargeSessionParams(
  charge: Charge,
  attempt: number,
  customer: string,
  urls: ReturnUrls,
): Stripe.Checkout.SessionCreateParams {
  // Not `client_reference_id`: that names purchases.
  const metadata = chargeMetadata(charge, attempt)
  const { currency, statementDescriptorSuffix: suffix } = charge
  return {
    mode: 'payment',
    customer,
    line_items: [
      {
        price_data: {
          currency: currency.toLowerCase(),
          unit_amount: toStripeAmount(charge.amount, currency),
          product_data: { name: charge.description },
        },
        quantity: 1,
      },
    ],
    metadata,
    payment_intent_data: {
      metadata,
      description: charge.description,
      ...(suffix === null ? {} : { statement_descriptor_suffix: suffix }),
    },
    // The payer sees the charge's own amount, whatever the dashboard says.
    adaptive_pricing: { enabled: false },
    allow_promotion_codes: false,
    success_url: urls.successUrl,
    cancel_url: urls.cancelUrl,
  }
}

/** By this our webhooks know whose an object is. */
export function chargeMetadata(charge: Charge, attempt: number): Record<string, string> {
  return {
    charge_id: charge.id,
    conference_id: charge.conferenceId,
    sponsor_id: charge.sponsorId,
    attempt: String(attempt),
  }
}

/** Asks Stripe for the link of a try and notes it; one that is known is answered from the row. */
export async function openChargeCheckout(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<OpenedCheckout> {
  if (attempt.params.kind !== 'checkout') throw new Error(`${ref.chargeId} has no link there`)
  const { sessionId, url, expiresAt } = attempt
  if (attempt.state !== 'creating' && sessionId !== null && expiresAt !== null) {
    return { kind: 'opened', sessionId, url, expiresAt }
  }
  const charge = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  const customer = await ensureCustomer(deps, { ...ref, customerId: charge.customerId })
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const opened = await createSession(
    stripe,
    chargeSessionParams(charge, attempt.attempt, customer, attempt.params.urls),
    attempt.idempotencyKey,
  )
  await withTenant(deps.db, ref, async (trx) => {
    const locked = await lockCharge(trx, ref)
    const changes =
      opened.kind === 'refused'
        ? ({
            state: 'refused',
            failure_code: 'stripe_refused',
            failure_message: opened.message,
          } as const)
        : ({
            state: 'open',
            session_id: opened.sessionId,
            url: opened.url,
            expires_at: opened.expiresAt,
          } as const)
    await updateAttempt(trx, ref, attempt.attempt, changes, ['creating'])
    await updateChargeStatus(trx, locked)
  })
  return opened
}

async function createSession(
  stripe: Stripe,
  params: Stripe.Checkout.SessionCreateParams,
  idempotencyKey: string,
): Promise<OpenedCheckout> {
  try {
    const answer = await stripe.checkout.sessions.create(params, { idempotencyKey })
    const session = parseStripeObject(sessionObject, answer, 'checkout session')
    return {
      kind: 'opened',
      sessionId: session.id,
      url: session.url,
      expiresAt: new Date(session.expires_at * 1000),
    }
  } catch (error) {
    if (!isStoredError(error) && !isRefusal(error)) throw toAppError(error)
    return { kind: 'refused', message: refusalMessage(error) }
  }
}
