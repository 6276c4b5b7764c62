import type Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import type { ReturnUrls } from '../../payments/payable.ts'
import { toStripeAmount } from '../../shared/money.ts'
import {
  createCheckoutSession,
  FIXED_AMOUNT,
  type OpenCheckoutResult,
} from '../../stripe/payment-requests.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { ensureCustomer } from '../customers/ensure-customer.ts'
import { type ChargeAttempt, updateAttempt } from './charge-attempt-store.ts'
import { type Charge, type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { updateChargeStatus } from './reconcile-charge.ts'

/** Opens the Checkout session of an attempt and saves it. A session that is saved is returned. */
export async function openChargeCheckout(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<OpenCheckoutResult> {
  if (attempt.params.kind !== 'checkout') {
    throw new Error(`Attempt ${attempt.attempt} of ${ref.chargeId} does not use Checkout`)
  }
  const { sessionId, url, expiresAt } = attempt
  if (attempt.state !== 'creating' && sessionId !== null && expiresAt !== null) {
    return { kind: 'opened', session: { sessionId, url, expiresAt } }
  }
  const charge = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  const customer = await ensureCustomer(deps, { ...ref, customerId: charge.customerId })
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const result = await createCheckoutSession(
    stripe,
    sessionParams(charge, attempt.attempt, customer, attempt.params.urls),
    attempt.idempotencyKey,
  )
  await withTenant(deps.db, ref, async (trx) => {
    const locked = await lockCharge(trx, ref)
    const changes =
      result.kind === 'refused'
        ? ({
            state: 'refused',
            failure_code: 'stripe_refused',
            failure_message: result.message,
          } as const)
        : ({
            state: 'open',
            session_id: result.session.sessionId,
            url: result.session.url,
            expires_at: result.session.expiresAt,
          } as const)
    await updateAttempt(trx, ref, attempt.attempt, changes, ['creating'])
    await updateChargeStatus(trx, locked)
  })
  return result
}

function sessionParams(
  charge: Charge,
  attempt: number,
  customer: string,
  urls: ReturnUrls,
): Stripe.Checkout.SessionCreateParams {
  // No `client_reference_id`: it is used for purchases only.
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
    ...FIXED_AMOUNT,
    success_url: urls.successUrl,
    cancel_url: urls.cancelUrl,
  }
}

/** Names the charge to our webhooks. */
export function chargeMetadata(charge: Charge, attempt: number): Record<string, string> {
  return {
    charge_id: charge.id,
    conference_id: charge.conferenceId,
    sponsor_id: charge.sponsorId,
    attempt: String(attempt),
  }
}
