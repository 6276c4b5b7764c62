import { type ExecutableActionsFrom, type StateValueFrom, setup, transition } from 'xstate'
import type { Failure } from '../payments/payment-records.ts'

/**
 * What the guards compare. It is loaded from the locked rows. Amounts are integer minor units of the
 * purchase's currency.
 */
export type PurchaseContext = {
  total: number
  currency: string
  /** What a paid purchase owes us: the total, or the amount that staff accepted instead. */
  due: number
  /** Received − succeeded refunds − lost disputes, over all payments. */
  net: number
  attempts: { open: boolean; pending: boolean; paid: boolean }
}

/** What the history says about money: its amount, and Stripe's reason of a refund or a dispute. */
type MoneyOfEvent = { amount?: number; currency?: string; reason?: string | null }

/** A business fact. An event that raises a flag carries the flag's text. */
export type PurchaseEvent =
  | { type: 'CHECKOUT_OPENED' }
  | { type: 'COMP_APPROVED' }
  | { type: 'COMP_REVOKED' }
  | { type: 'PAYMENT_RECORDED'; amount: number; currency: string; paidAt: Date }
  | {
      type: 'PAYMENT_SUCCEEDED'
      paymentIntent: string
      amount: number
      currency: string
      accepted: boolean
    }
  | ({ type: 'PAYMENT_MISMATCHED'; flag: FlagFact } & MoneyOfEvent)
  | { type: 'PAYMENT_PENDING' }
  | { type: 'PAYMENT_DECLINED'; failure: Failure }
  | { type: 'PAYMENT_FAILED'; failure: Failure }
  | { type: 'CHECKOUT_EXPIRED' }
  | { type: 'CANCELLED' }
  | ({ type: 'SECOND_PAYMENT'; flag: FlagFact } & MoneyOfEvent)
  | ({ type: 'REFUND_PENDING' } & MoneyOfEvent)
  | ({ type: 'PARTIALLY_REFUNDED' } & MoneyOfEvent)
  | ({ type: 'REFUNDED' } & MoneyOfEvent)
  | ({ type: 'REFUND_FAILED'; flag: FlagFact } & MoneyOfEvent)
  | ({ type: 'DISPUTE_OPENED'; flag: FlagFact } & MoneyOfEvent)
  | ({ type: 'DISPUTE_WON' } & MoneyOfEvent)
  | ({ type: 'DISPUTE_LOST' } & MoneyOfEvent)
  | { type: 'FRAUD_WARNED'; flag: FlagFact }
  | { type: 'REINSTATED' }

/** `fact` names the cause, usually an object (`re_…`, `pi_…`), so that the same cause never raises its flag again. */
export type FlagFact = { fact: string; detail: string }

export const FLAG_CODES = [
  'amount_mismatch',
  'overpaid',
  'refund_failed',
  'dispute',
  'too_few_unredeemed',
  'early_fraud_warning',
] as const

export type FlagCode = (typeof FLAG_CODES)[number]

/** The flag that an event raises. */
export const FLAG_OF_EVENT = {
  PAYMENT_MISMATCHED: 'amount_mismatch',
  SECOND_PAYMENT: 'overpaid',
  REFUND_FAILED: 'refund_failed',
  DISPUTE_OPENED: 'dispute',
  FRAUD_WARNED: 'early_fraud_warning',
} as const satisfies Partial<Record<PurchaseEvent['type'], FlagCode>>

// Effects are only names here; plan-purchase.ts says what each adds to the plan.
const effect = () => {}

type Guard = (args: { context: PurchaseContext; event: PurchaseEvent }) => boolean

const guards = {
  hasPrice: ({ context }) => context.total > 0,
  isFree: ({ context }) => context.total === 0,
  matchesPrice: ({ context, event }) =>
    event.type === 'PAYMENT_SUCCEEDED' &&
    (event.accepted || (event.amount === context.total && event.currency === context.currency)),
  isRecordable: ({ context: { total, currency, attempts }, event }) =>
    event.type === 'PAYMENT_RECORDED' &&
    total > 0 &&
    event.amount === total &&
    event.currency === currency &&
    !attempts.open &&
    !attempts.pending &&
    !attempts.paid,
  noAttemptPayable: ({ context: { attempts } }) =>
    !attempts.open && !attempts.pending && !attempts.paid,
  noPaymentPendingOrPaid: ({ context: { attempts } }) => !attempts.pending && !attempts.paid,
  partlyRefunded: ({ context }) => context.net > 0 && context.net < context.due,
  // A lost dispute after a refund can make net negative.
  fullyRefunded: ({ context }) => context.net <= 0,
  paidInFull: ({ context }) => context.net >= context.due,
} satisfies Record<string, Guard>

const machine = setup({
  types: { context: {} as PurchaseContext, events: {} as PurchaseEvent },
  guards,
  actions: {
    issueVouchers: effect,
    flagForStaff: effect,
    recordDecline: effect,
    freezeForRefund: effect,
    unfreezeAfterRefund: effect,
    freezeForDispute: effect,
    unfreezeAfterDispute: effect,
    deactivateUnredeemed: effect,
    deactivateVouchers: effect,
    reactivateVouchers: effect,
  },
}).createMachine({
  id: 'purchase',
  initial: 'PENDING',
  // Never used: `decide` passes the context of the row.
  context: {
    total: 0,
    currency: '',
    due: 0,
    net: 0,
    attempts: { open: false, pending: false, paid: false },
  },
  on: { FRAUD_WARNED: { actions: 'flagForStaff' } },
  states: {
    PENDING: {
      on: {
        CHECKOUT_OPENED: { target: 'PROCESSING', guard: 'hasPrice' },
        COMP_APPROVED: { target: 'PAID', guard: 'isFree', actions: 'issueVouchers' },
        PAYMENT_RECORDED: { target: 'PAID', guard: 'isRecordable', actions: 'issueVouchers' },
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
        PAYMENT_FAILED: { target: 'FAILED', guard: 'noAttemptPayable' },
        CHECKOUT_EXPIRED: { target: 'FAILED', guard: 'noAttemptPayable' },
        CANCELLED: { target: 'FAILED', guard: 'noPaymentPendingOrPaid' },
      },
    },
    PROCESSING: {
      on: {
        CHECKOUT_OPENED: { guard: 'hasPrice', target: 'PROCESSING' },
        PAYMENT_RECORDED: { target: 'PAID', guard: 'isRecordable', actions: 'issueVouchers' },
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
        PAYMENT_DECLINED: { actions: 'recordDecline' },
        PAYMENT_FAILED: { target: 'FAILED', guard: 'noAttemptPayable' },
        CHECKOUT_EXPIRED: { target: 'FAILED', guard: 'noAttemptPayable' },
        CANCELLED: { target: 'FAILED', guard: 'noPaymentPendingOrPaid' },
      },
    },
    FAILED: {
      on: {
        CHECKOUT_OPENED: { target: 'PROCESSING', guard: 'hasPrice' },
        // A payment always wins: even a late one makes a failed purchase PAID.
        PAYMENT_RECORDED: { target: 'PAID', guard: 'isRecordable', actions: 'issueVouchers' },
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
      },
    },
    PAID: {
      on: {
        COMP_REVOKED: { target: 'REFUNDED', guard: 'isFree', actions: 'deactivateVouchers' },
        SECOND_PAYMENT: { actions: 'flagForStaff' },
        REFUND_PENDING: { actions: 'freezeForRefund' },
        PARTIALLY_REFUNDED: { guard: 'partlyRefunded', actions: 'deactivateUnredeemed' },
        REFUNDED: { target: 'REFUNDED', guard: 'fullyRefunded', actions: 'deactivateVouchers' },
        REFUND_FAILED: { actions: ['unfreezeAfterRefund', 'flagForStaff'] },
        DISPUTE_OPENED: { actions: ['freezeForDispute', 'flagForStaff'] },
        DISPUTE_WON: { actions: 'unfreezeAfterDispute' },
        DISPUTE_LOST: [
          { target: 'REFUNDED', guard: 'fullyRefunded', actions: 'deactivateVouchers' },
          { actions: ['deactivateUnredeemed', 'unfreezeAfterDispute'] },
        ],
      },
    },
    REFUNDED: {
      on: {
        SECOND_PAYMENT: { actions: 'flagForStaff' },
        REFUND_FAILED: { actions: ['unfreezeAfterRefund', 'flagForStaff'] },
        // The bank may also take the money that we refunded: staff must answer the dispute.
        DISPUTE_OPENED: { actions: ['freezeForDispute', 'flagForStaff'] },
        DISPUTE_WON: { actions: 'unfreezeAfterDispute' },
        DISPUTE_LOST: { actions: 'unfreezeAfterDispute' },
        REINSTATED: { target: 'PAID', guard: 'paidInFull', actions: 'reactivateVouchers' },
      },
    },
  },
})

export type PurchaseStatus = StateValueFrom<typeof machine>

export type PurchaseEffect = Exclude<
  ExecutableActionsFrom<typeof machine>['type'],
  `xstate.${string}`
>

export type Decision =
  | { kind: 'refused' }
  | { kind: 'applied'; status: PurchaseStatus; effects: PurchaseEffect[] }

/** The database's check constraint lists the same five. */
export const PURCHASE_STATUSES = ['PENDING', 'PROCESSING', 'PAID', 'FAILED', 'REFUNDED'] as const

/** Every event that a state handles, for the printed table. */
export const PURCHASE_EVENTS: readonly string[] = machine.events

const ALL_GUARDS = Object.values<Guard>(guards)
const decisions = new Map<string, Decision>()

/**
 * Asks the machine. Pure: no clock, no I/O. A decision depends on the status, the event's type and the
 * guards alone, so it is kept: one reconcile asks about twenty times, and xstate needs some 30 µs each time.
 */
export function decide(
  status: PurchaseStatus,
  context: PurchaseContext,
  event: PurchaseEvent,
): Decision {
  const passed = ALL_GUARDS.reduce(
    (bits, guard) => bits * 2 + (guard({ context, event }) ? 1 : 0),
    0,
  )
  const key = `${status} ${event.type} ${passed}`
  const known = decisions.get(key)
  if (known !== undefined) return known
  const decision = askMachine(status, context, event)
  decisions.set(key, decision)
  return decision
}

/** To xstate, a refused event and one that changes nothing look the same, so `can` is called first. */
function askMachine(
  status: PurchaseStatus,
  context: PurchaseContext,
  event: PurchaseEvent,
): Decision {
  const from = machine.resolveState({ value: status, context })
  if (!from.can(event)) return { kind: 'refused' }
  const [to, actions] = transition(machine, from, event)
  // xstate could return actions of its own, but none are used here; `setup` declares all of ours.
  return {
    kind: 'applied',
    status: to.value,
    effects: actions.map((a) => a.type as PurchaseEffect),
  }
}
