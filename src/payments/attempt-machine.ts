import { getNextSnapshot, setup } from 'xstate'

/**
 * - `creating`: the session or the intent may or may not exist at Stripe.
 * - `open`: the payment page can be paid, or the saved card can be charged.
 * - `processing`: the payer has finished, and the money has not arrived yet (bank debit).
 * - `paid`, `failed`: the payment arrived, or did not.
 * - `expired`, `cancelled`: it can no longer be paid.
 * - `refused`: Stripe refused to make or to charge it.
 */
export const ATTEMPT_STATES = [
  'creating',
  'open',
  'processing',
  'paid',
  'failed',
  'expired',
  'cancelled',
  'refused',
] as const

export type AttemptState = (typeof ATTEMPT_STATES)[number]

/**
 * A fact about an attempt: from Stripe's answer to our request, from a snapshot, or from a person who
 * closed it here.
 */
export type AttemptEvent =
  | 'OPENED'
  | 'PROCESSING'
  | 'PAID'
  | 'FAILED'
  | 'EXPIRED'
  | 'CANCELLED'
  | 'REFUSED'

// An attempt that has ended stays so: a snapshot that was fetched before it was closed cannot reopen it.
// Only money can, because a payment that arrives late is still a payment.
const money = { PAID: 'paid', PROCESSING: 'processing' } as const

const machine = setup({ types: { events: {} as { type: AttemptEvent } } }).createMachine({
  id: 'attempt',
  initial: 'creating',
  states: {
    creating: {
      on: {
        ...money,
        OPENED: 'open',
        FAILED: 'failed',
        EXPIRED: 'expired',
        CANCELLED: 'cancelled',
        REFUSED: 'refused',
      },
    },
    open: {
      on: {
        ...money,
        FAILED: 'failed',
        EXPIRED: 'expired',
        CANCELLED: 'cancelled',
        REFUSED: 'refused',
      },
    },
    processing: { on: { PAID: 'paid', FAILED: 'failed' } },
    paid: {},
    failed: { on: money },
    expired: { on: money },
    cancelled: { on: money },
    refused: { on: money },
  },
})

const EVENTS = [
  'OPENED',
  'PROCESSING',
  'PAID',
  'FAILED',
  'EXPIRED',
  'CANCELLED',
  'REFUSED',
] as const

/** The machine as a table, made once: a plan asks it for each attempt of each snapshot. */
const transitions = new Map<string, AttemptState>(
  ATTEMPT_STATES.flatMap((state) => {
    const from = machine.resolveState({ value: state })
    return EVENTS.filter((type) => from.can({ type })).map(
      (type) => [`${state} ${type}`, getNextSnapshot(machine, from, { type }).value] as const,
    )
  }),
)

/** The state after the event, or null if the machine has no such transition: nothing changes then. */
export function nextAttemptState(state: AttemptState, event: AttemptEvent): AttemptState | null {
  return transitions.get(`${state} ${event}`) ?? null
}

/** Whether a payer or a confirmation can still pay it. A unique index allows one such attempt at a time. */
export function isPayable({ state }: { state: AttemptState }): boolean {
  return state === 'creating' || state === 'open'
}

/** Whether it ended without a payment. */
export function isOver({ state }: { state: AttemptState }): boolean {
  return state === 'expired' || state === 'cancelled' || state === 'refused'
}
