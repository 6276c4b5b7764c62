import { type ExecutableActionsFrom, type StateValueFrom, setup, transition } from 'xstate'

/**
 * What the guards compare, read from the locked rows. Amounts are integer minor units of the
 * purchase's currency.
 */
export type PurchaseContext = {
  total: number
  currency: string
  /** What a paid purchase owes us: the total, or what staff accepted instead of it. */
  due: number
  /** Received − succeeded refunds − lost disputes, over all payments. */
  net: number
  attempts: { open: boolean; pending: boolean; paid: boolean }
}

/** A business fact. What a flag says travels with it. */
export type PurchaseEvent =
  | { type: 'CHECKOUT_OPENED' }
  | { type: 'COMP_APPROVED' }
  | {
      type: 'PAYMENT_SUCCEEDED'
      paymentIntent: string
      amount: number
      currency: string
      accepted: boolean
    }
  | { type: 'PAYMENT_MISMATCHED'; flag: FlagFact }
  | { type: 'PAYMENT_PENDING' }
  | { type: 'PAYMENT_DECLINED'; failure: Failure }
  | { type: 'PAYMENT_FAILED'; failure: Failure }
  | { type: 'CHECKOUT_EXPIRED' }
  | { type: 'CANCELLED' }
  | { type: 'SECOND_PAYMENT'; flag: FlagFact }
  | { type: 'REFUND_PENDING' }
  | { type: 'PARTIALLY_REFUNDED' }
  | { type: 'REFUNDED' }
  | { type: 'REFUND_FAILED'; flag: FlagFact }
  | { type: 'DISPUTE_OPENED'; flag: FlagFact }
  | { type: 'DISPUTE_WON' }
  | { type: 'DISPUTE_LOST' }
  | { type: 'FRAUD_WARNED'; flag: FlagFact }
  | { type: 'REINSTATED' }

/** `fact` names what was seen (`re_…`, `pi_…`), so that the same fact never raises its flag again. */
export type FlagFact = { fact: string; detail: string }

export type Failure = { code: string; message: string }

// Performed by the caller on the locked row; here they are only names.
const effect = () => {}

const machine = setup({
  types: { context: {} as PurchaseContext, events: {} as PurchaseEvent },
  guards: {
    hasPrice: ({ context }) => context.total > 0,
    isFree: ({ context }) => context.total === 0,
    matchesPrice: ({ context, event }) =>
      event.type === 'PAYMENT_SUCCEEDED' &&
      (event.accepted || (event.amount === context.total && event.currency === context.currency)),
    nothingUnderWay: ({ context: { attempts } }) =>
      !attempts.open && !attempts.pending && !attempts.paid,
    noMoneyUnderWay: ({ context: { attempts } }) => !attempts.pending && !attempts.paid,
    partlyPaidBack: ({ context }) => context.net > 0 && context.net < context.due,
    // A lost dispute after a refund can make it negative.
    allPaidBack: ({ context }) => context.net <= 0,
    nothingPaidBack: ({ context }) => context.net >= context.due,
  },
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
  // Replaced by the row's own on every call; see `decide`.
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
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
        PAYMENT_FAILED: { target: 'FAILED', guard: 'nothingUnderWay' },
        CHECKOUT_EXPIRED: { target: 'FAILED', guard: 'nothingUnderWay' },
        CANCELLED: { target: 'FAILED', guard: 'noMoneyUnderWay' },
      },
    },
    PROCESSING: {
      on: {
        CHECKOUT_OPENED: { guard: 'hasPrice', target: 'PROCESSING' },
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
        PAYMENT_DECLINED: { actions: 'recordDecline' },
        PAYMENT_FAILED: { target: 'FAILED', guard: 'nothingUnderWay' },
        CHECKOUT_EXPIRED: { target: 'FAILED', guard: 'nothingUnderWay' },
        CANCELLED: { target: 'FAILED', guard: 'noMoneyUnderWay' },
      },
    },
    FAILED: {
      on: {
        CHECKOUT_OPENED: { target: 'PROCESSING', guard: 'hasPrice' },
        // Money taken always wins: a late payment makes a failed purchase PAID.
        PAYMENT_SUCCEEDED: { target: 'PAID', guard: 'matchesPrice', actions: 'issueVouchers' },
        PAYMENT_MISMATCHED: { actions: 'flagForStaff' },
        PAYMENT_PENDING: 'PROCESSING',
      },
    },
    PAID: {
      on: {
        SECOND_PAYMENT: { actions: 'flagForStaff' },
        REFUND_PENDING: { actions: 'freezeForRefund' },
        PARTIALLY_REFUNDED: { guard: 'partlyPaidBack', actions: 'deactivateUnredeemed' },
        REFUNDED: { target: 'REFUNDED', guard: 'allPaidBack', actions: 'deactivateVouchers' },
        REFUND_FAILED: { actions: ['unfreezeAfterRefund', 'flagForStaff'] },
        DISPUTE_OPENED: { actions: ['freezeForDispute', 'flagForStaff'] },
        DISPUTE_WON: { actions: 'unfreezeAfterDispute' },
        DISPUTE_LOST: [
          { target: 'REFUNDED', guard: 'allPaidBack', actions: 'deactivateVouchers' },
          { actions: ['deactivateUnredeemed', 'unfreezeAfterDispute'] },
        ],
      },
    },
    REFUNDED: {
      on: {
        SECOND_PAYMENT: { actions: 'flagForStaff' },
        REFUND_FAILED: { actions: ['unfreezeAfterRefund', 'flagForStaff'] },
        // The bank may take back money that we already sent back: staff must answer the dispute.
        DISPUTE_OPENED: { actions: 'flagForStaff' },
        REINSTATED: { target: 'PAID', guard: 'nothingPaidBack', actions: 'reactivateVouchers' },
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

/** In the order of a purchase's life; the database's check constraint has the same five. */
export const PURCHASE_STATUSES = ['PENDING', 'PROCESSING', 'PAID', 'FAILED', 'REFUNDED'] as const

/** Every event that some state knows, for the printed table. */
export const PURCHASE_EVENTS: readonly string[] = machine.events

/**
 * Asks the machine: pure, no clock, no I/O. A refused event and one that changes nothing look alike
 * to xstate, so `can` is asked first.
 */
export function decide(
  status: PurchaseStatus,
  context: PurchaseContext,
  event: PurchaseEvent,
): Decision {
  const from = machine.resolveState({ value: status, context })
  if (!from.can(event)) return { kind: 'refused' }
  const [to, actions] = transition(machine, from, event)
  // xstate also returns actions of its own (none are used here); ours are all declared in `setup`.
  return {
    kind: 'applied',
    status: to.value,
    effects: actions.map((a) => a.type as PurchaseEffect),
  }
}
