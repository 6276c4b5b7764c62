import { balancesOf, netOf, sumBalances } from '../../payments/balances.ts'
import type { Failure, PaymentAttempt, PaymentRecords } from '../../payments/payment-records.ts'
import type { PaymentSnapshot } from '../../payments/payment-snapshot.ts'
import {
  type AttemptChange,
  type AttemptInput,
  AUTHENTICATION_REQUIRED,
  applyAttemptEvent,
  applySnapshotToRecords,
} from '../../payments/plan-records.ts'
import type { Charge, ChargeAggregate, ChargeStatus } from './charge-store.ts'

/** What happened to a charge, or what staff decided. */
export type ChargeInput =
  | { type: 'snapshot'; snapshot: PaymentSnapshot }
  /** Stripe's answer to a request of ours about an attempt, or its close here. */
  | ({ type: 'attempt' } & AttemptInput)
  /** An attempt or a refund request was inserted or answered. */
  | { type: 'refresh' }
  | { type: 'cancel' }

/** Everything that an input changes. change-charge.ts writes it and runs the hooks. */
export type ChargePlan = {
  before: ChargeAggregate
  after: ChargeAggregate
  /** The attempts that failed, or that Stripe refused finally. */
  declines: { attempt: number; failure: Failure }[]
  /** Whether the attempt's machine took the input; true for the others. */
  accepted: boolean
}

/**
 * What an input means for a charge. Pure: no clock, no I/O. Status, sums and failure follow from the
 * records as they stand, so the same snapshot again plans nothing.
 */
export function planCharge(before: ChargeAggregate, input: ChargeInput): ChargePlan {
  const applied = applyInput(before.records, input)
  if (applied === null) return { before, after: before, declines: [], accepted: false }
  const { records, changes } = applied
  const isCanceled = input.type === 'cancel' || before.charge.status === 'canceled'
  const charge = { ...before.charge, ...derive(before.charge, records, isCanceled) }
  return {
    before,
    after: { charge, records },
    declines: declinesOf(charge, changes),
    accepted: true,
  }
}

function applyInput(
  records: PaymentRecords,
  input: ChargeInput,
): { records: PaymentRecords; changes: AttemptChange[] } | null {
  switch (input.type) {
    case 'snapshot':
      return applySnapshotToRecords(records, input.snapshot)
    case 'attempt': {
      const applied = applyAttemptEvent(records, input)
      return applied === null ? null : { records: applied.records, changes: [applied.change] }
    }
    case 'refresh':
    case 'cancel':
      return { records, changes: [] }
  }
}

type Derived = Pick<
  Charge,
  'status' | 'failure' | 'paymentIntentId' | 'amountReceived' | 'amountRefunded' | 'amountRefunding'
>

function derive(charge: Charge, records: PaymentRecords, isCanceled: boolean): Derived {
  const balances = balancesOf(records)
  const { received, refunded, refundPending } = sumBalances(balances, charge.currency)
  const requested = balances
    .filter(({ currency }) => currency === charge.currency)
    .reduce((total, balance) => total + balance.requested, 0)
  const amountRefunded = Math.min(refunded, received)
  // As with a purchase, less than the amount, or another currency, does not pay it.
  const paid =
    received < charge.amount
      ? undefined
      : records.payments.find(
          ({ status, currency }) => status === 'succeeded' && currency === charge.currency,
        )
  const sums = {
    paymentIntentId: charge.paymentIntentId ?? paid?.paymentIntent ?? null,
    amountReceived: received,
    amountRefunded,
    // A refund from Stripe's dashboard may have used up an amount requested here: Stripe refuses that.
    amountRefunding: Math.min(refundPending + requested, received - amountRefunded),
  }
  if (paid !== undefined) {
    const isRefunded = received > 0 && amountRefunded === received
    return { ...sums, status: isRefunded ? 'refunded' : 'succeeded', failure: null }
  }
  const hasMoney = balances.some((balance) => netOf(balance) > 0)
  return { ...sums, ...unpaidStatus(charge, records.attempts, isCanceled, hasMoney) }
}

type StatusAndFailure = { status: ChargeStatus; failure: Failure | null }

function unpaidStatus(
  charge: Charge,
  attempts: PaymentAttempt[],
  isCanceled: boolean,
  hasMoney: boolean,
): StatusAndFailure {
  const isPending = attempts.some(({ state }) => state === 'processing')
  if (isPending) return { status: 'processing', failure: null }
  if (isCanceled) return { status: 'canceled', failure: null }
  // A bank transfer arrived in part, or a payment of another amount or currency, which staff refund.
  if (hasMoney) return { status: 'processing', failure: null }
  const decisive = attempts.findLast((attempt) => !isNeverOffered(charge, attempt))
  if (decisive === undefined) return { status: 'open', failure: null }
  const failure = failureOf(charge, decisive)
  if (failure !== null && failure.code !== AUTHENTICATION_REQUIRED) {
    return { status: 'declined', failure }
  }
  if (failure !== null || decisive.kind === 'checkout') {
    const last = attempts
      .map((attempt) => failureOf(charge, attempt))
      .findLast((one) => one !== null)
    return { status: 'requires_action', failure: last ?? null }
  }
  return { status: 'open', failure: null }
}

/** Whether an attempt says nothing about the charge: no payer could use its page, or another may succeed. */
function isNeverOffered(charge: Charge, attempt: PaymentAttempt): boolean {
  const { kind, state } = attempt
  if (state === 'refused') return failureOf(charge, attempt) === null
  return kind === 'checkout' && (state === 'creating' || state === 'cancelled')
}

/** Why an attempt failed, or was refused so that a repeat would be refused too. */
function failureOf(charge: Charge, attempt: PaymentAttempt): Failure | null {
  const { state, failure } = attempt
  if (state === 'failed') return failure
  return state === 'refused' && isFinalRefusal(charge, attempt) ? failure : null
}

/**
 * Whether a card attempt would be refused again: Stripe refused it, or the charge's own card does not exist
 * any more, which is permanent. A sponsor without a default card may save one.
 */
function isFinalRefusal(
  { paymentMethod }: Charge,
  { kind, params, failure }: PaymentAttempt,
): boolean {
  if (kind !== 'saved_card') return false
  if (failure?.code === 'stripe_refused') return true
  const isOwnCard = paymentMethod !== null && (params.named ?? paymentMethod) === paymentMethod
  return failure?.code === 'no_payment_method' && isOwnCard
}

function declinesOf(charge: Charge, changes: AttemptChange[]): ChargePlan['declines'] {
  return changes.flatMap(({ before, after }) => {
    const failure = before.state === after.state ? null : failureOf(charge, after)
    return failure === null ? [] : [{ attempt: after.attempt, failure }]
  })
}
