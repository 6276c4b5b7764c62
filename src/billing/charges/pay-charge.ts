import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { isPayable } from '../../payments/attempt-machine.ts'
import {
  closeAttempt,
  finishStaleAttempt,
  openPaymentPage,
  payWithSavedCard,
} from '../../payments/make-payment.ts'
import {
  type AttemptRequest,
  type ChosenAttempt,
  chooseAttempt,
  type Payable,
  paymentInProgress,
  type ReturnUrls,
} from '../../payments/payable.ts'
import type { OpenedSession, SavedCard } from '../../payments/payment-gateway.ts'
import type { CardParams, CheckoutParams, PaymentAttempt } from '../../payments/payment-records.ts'
import { insertAttempt, noteOnAttempt } from '../../payments/payment-store.ts'
import { AUTHENTICATION_REQUIRED } from '../../payments/plan-records.ts'
import { AppError } from '../../shared/errors.ts'
import type { Clock } from '../../shared/time.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { ensureCustomer } from '../customers/ensure-customer.ts'
import { chooseCard } from '../customers/saved-cards.ts'
import { saveChargePlan } from './change-charge.ts'
import {
  type Charge,
  type ChargeAggregate,
  type ChargeRef,
  getCharge,
  isPaid,
  lockCharge,
  ownerOf,
} from './charge-store.ts'
import { planCharge } from './plan-charge.ts'
import { reconcileCharge } from './reconcile-charge.ts'

/** A 409 with the charge's status. */
export function wrongChargeState(detail: string, { status }: Charge): AppError {
  return new AppError('wrong_state', detail, { extra: { state: status } })
}

/** @throws AppError `wrong_state`, `payment_in_progress` */
function assertUnpaid(charge: Charge, action: 'paid' | 'canceled'): void {
  if (charge.status === 'processing') {
    throw paymentInProgress(
      'A bank payment is pending, or a payment of another amount arrived. Wait until it succeeds or fails, or refund it.',
    )
  }
  if (['succeeded', 'refunded', 'canceled'].includes(charge.status)) {
    const detail = `The charge cannot be ${action}: its status is ${charge.status}.`
    throw wrongChargeState(detail, charge)
  }
}

/**
 * The first step of a payment, in the request's transaction: chooses the attempt of this request, and
 * inserts it if no attempt is open. It does not call Stripe.
 *
 * @throws AppError `not_found`, `wrong_state`, `payment_in_progress`
 */
export async function beginChargePayment(
  trx: Tx,
  deps: { clock: Clock },
  ref: ChargeRef,
  request: AttemptRequest,
  actorId: string,
): Promise<ChosenAttempt> {
  const aggregate = await lockCharge(trx, ref)
  assertUnpaid(aggregate.charge, 'paid')
  const { number, insert } = chooseAttempt(aggregate.records, request, deps.clock)
  const inserted = insert ? await insertNext(trx, aggregate, number, request, actorId) : null
  return { number, inserted }
}

async function insertNext(
  trx: Tx,
  { charge, records }: ChargeAggregate,
  attempt: number,
  request: AttemptRequest,
  requestedBy: string,
): Promise<PaymentAttempt> {
  const owner = ownerOf({ conferenceId: charge.conferenceId, chargeId: charge.id })
  const kind =
    request.kind === 'checkout'
      ? { kind: request.kind, params: checkoutParams(charge, request.urls) }
      : { kind: request.kind, params: cardParams(charge, request.named) }
  const inserted = await insertAttempt(trx, owner, { attempt, requestedBy, ...kind })
  const attempts = [...records.attempts, inserted]
  const now = { charge, records: { ...records, attempts } }
  await saveChargePlan(trx, planCharge(now, { type: 'refresh' }))
  return inserted
}

const commonParams = ({ description, currency, sponsorId, ...charge }: Charge) => ({
  description,
  currency,
  sponsorId,
  statementDescriptorSuffix: charge.statementDescriptorSuffix,
  metadata: charge.metadata,
})

const checkoutParams = (charge: Charge, urls: ReturnUrls): CheckoutParams => ({
  ...commonParams(charge),
  ...urls,
  quantity: 1,
  unitAmount: charge.amount,
  // The session is the customer's, whose address Stripe knows.
  contactEmail: null,
  expiresAt: null,
  invoiceCreation: false,
  taxIdCollection: false,
})

const cardParams = (charge: Charge, named: string | null): CardParams => ({
  ...commonParams(charge),
  amount: charge.amount,
  named,
})

function attemptOf(attempts: PaymentAttempt[], number: number): PaymentAttempt {
  const found = attempts.find(({ attempt }) => attempt === number)
  if (found === undefined) throw new Error(`Attempt ${number} is missing`)
  return found
}

/** The charge as the payment flows use it. Each change is one transaction under its lock. */
function asPayable(deps: ChargeDeps, ref: ChargeRef, actorId: string): Payable {
  const { db, chargeHooks } = deps
  const owner = ownerOf(ref)
  const get = () => withTenant(db, ref, (trx) => getCharge(trx, ref))
  return {
    owner,
    listAttempts: async () => (await get()).records.attempts,
    apply: (input, from) =>
      withTenant(db, ref, async (trx) => {
        const before = await lockCharge(trx, ref)
        const attempt = attemptOf(before.records.attempts, input.attempt)
        if (from !== undefined && !from.includes(attempt.state)) return { attempt, isChange: false }
        const plan = planCharge(before, { type: 'attempt', ...input })
        await saveChargePlan(trx, plan, chargeHooks)
        const after = attemptOf(plan.after.records.attempts, input.attempt)
        return { attempt: after, isChange: plan.accepted }
      }),
    insertAttempt: (number, request) =>
      withTenant(db, ref, async (trx) => {
        const aggregate = await lockCharge(trx, ref)
        const found = aggregate.records.attempts.find(({ attempt }) => attempt === number)
        if (found !== undefined) return found
        assertUnpaid(aggregate.charge, 'paid')
        return insertNext(trx, aggregate, number, request, actorId)
      }),
    note: (number, from, notes) =>
      withTenant(db, ref, (trx) => noteOnAttempt(trx, owner, number, from, notes)),
    isPaid: async () => isPaid((await get()).charge),
    reconcile: (hints) => reconcileCharge(deps, ref, hints),
    customer: async () => {
      const { customerId } = (await get()).charge
      return ensureCustomer(deps, { conferenceId: ref.conferenceId, customerId })
    },
    chooseCard: async (named) => chooseChargeCard(deps, (await get()).charge, named),
  }
}

/**
 * The card of a payment: the named one, else the charge's own, else the customer's default.
 *
 * @throws AppError `no_payment_method`, also if the charge's own card does not exist any more;
 *   `validation_failed` for another named card that is not the sponsor's.
 */
async function chooseChargeCard(
  deps: ChargeDeps,
  { conferenceId, sponsorId, paymentMethod: own }: Charge,
  named: string | null,
): Promise<SavedCard> {
  const wanted = named ?? own
  try {
    return await chooseCard(deps, conferenceId, sponsorId, wanted)
  } catch (error) {
    const isMissing = error instanceof AppError && error.code === 'validation_failed'
    if (!isMissing || wanted !== own) throw error
    const detail = `The sponsor no longer has the charge's payment method "${own}". Charge another one.`
    throw new AppError('no_payment_method', detail)
  }
}

/**
 * Makes sure that the charge has a card, if its last attempt was refused, perhaps because it had none:
 * another attempt without a card would only be one more row.
 *
 * @throws AppError `no_payment_method`, `stripe_…`
 */
export async function assertCardAfterRefusal(deps: ChargeDeps, ref: ChargeRef): Promise<void> {
  const { charge, records } = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  if (records.attempts.at(-1)?.state === 'refused') await chooseChargeCard(deps, charge, null)
}

/**
 * Charges a saved card; see `payWithSavedCard`. A decline ends the attempt and is not an error. If the bank
 * requires the cardholder to authenticate, the intent is closed; a charge with return URLs gets a Checkout
 * session instead.
 *
 * @throws AppError `no_payment_method`, `validation_failed`, `payment_in_progress`, `stripe_refused`;
 *   `stripe_unavailable` and `stripe_failed` after an unknown outcome: the charge stays open.
 */
export async function finishChargeCard(
  deps: ChargeDeps,
  ref: ChargeRef,
  chosen: ChosenAttempt,
  named: string | null,
  actorId: string,
): Promise<void> {
  const payable = asPayable(deps, ref, actorId)
  const { state, failure } = await payWithSavedCard(deps, payable, chosen, named)
  if (state !== 'failed' || failure?.code !== AUTHENTICATION_REQUIRED) return
  const { charge } = await withTenant(deps.db, ref, (trx) => getCharge(trx, ref))
  const { successUrl, cancelUrl } = charge
  if (successUrl === null || cancelUrl === null) return
  const urls = { successUrl, cancelUrl }
  const page = await withTenant(deps.db, ref, (trx) =>
    beginChargePayment(trx, deps, ref, { kind: 'checkout', urls }, actorId),
  )
  await openPaymentPage(deps, payable, page, urls)
}

/** Opens the Checkout session where the payer pays the charge; see `openPaymentPage`. */
export function finishChargeCheckout(
  deps: ChargeDeps,
  ref: ChargeRef,
  chosen: ChosenAttempt,
  urls: ReturnUrls,
  actorId: string,
): Promise<OpenedSession> {
  return openPaymentPage(deps, asPayable(deps, ref, actorId), chosen, urls)
}

/** First step of a cancellation. @throws AppError `wrong_state`, `payment_in_progress`, `not_found` */
export async function beginChargeCancel(trx: Tx, ref: ChargeRef): Promise<void> {
  const { charge } = await lockCharge(trx, ref)
  if (charge.status !== 'canceled') assertUnpaid(charge, 'canceled')
}

/**
 * Cancels an unpaid charge, after what could still be paid is closed at Stripe. Safe to repeat.
 *
 * @throws AppError `payment_in_progress` when it was paid in the meantime, `stripe_…`
 */
export async function finishChargeCancel(
  deps: ChargeDeps,
  ref: ChargeRef,
  actorId: string,
): Promise<void> {
  const payable = asPayable(deps, ref, actorId)
  const last = (await payable.listAttempts()).at(-1)
  if (last !== undefined) await closeAttempt(deps, payable, last.attempt, 'CANCELLED')
  await withTenant(deps.db, ref, async (trx) => {
    const before = await lockCharge(trx, ref)
    if (before.charge.status === 'canceled') return
    assertUnpaid(before.charge, 'canceled')
    if (before.records.attempts.some(isPayable)) {
      throw paymentInProgress(
        'Another request opened a payment attempt in the meantime. Get the charge again to see its status.',
      )
    }
    await saveChargePlan(trx, planCharge(before, { type: 'cancel' }), deps.chargeHooks)
  })
}

/** Closes an attempt that no request continues; see `finishStaleAttempt`. It never charges a card. */
export function finishStaleChargeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: number,
): Promise<void> {
  return finishStaleAttempt(deps, asPayable(deps, ref, 'sweep'), attempt)
}
