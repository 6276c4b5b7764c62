/**
 * - `missing`: here knows it and there does not.
 * - `extra`: there it names one of our purchases, or belongs to a known payment, and here does not
 *   know it.
 * - `different`: both know it and say different things.
 */
export const DRIFT_KINDS = ['missing', 'extra', 'different'] as const
export type DriftKind = (typeof DRIFT_KINDS)[number]

export const DRIFT_OBJECTS = [
  'payment',
  'refund',
  'dispute',
  'checkout_session',
  'purchase',
] as const
export type DriftObject = (typeof DRIFT_OBJECTS)[number]

/** Resources of the mirror that purchases are compared with. */
export const DRIFT_RESOURCES = [
  'payment-intents',
  'refunds',
  'disputes',
  'checkout-sessions',
] as const
export type DriftResource = (typeof DRIFT_RESOURCES)[number]

/** A request to this API. `body` is left out where the request has none. */
export type RepairRequest = { method: 'POST'; path: string; body?: { [member: string]: unknown } }

/** How a difference is repaired: by a command line, or by the request that does the same. */
export type Repair = { command: string; request: RepairRequest }

/** One difference. */
export type DriftLine = {
  kind: DriftKind
  what: DriftObject
  purchase: string | null
  stripe_id: string | null
  resource: DriftResource
  /** What differs of it; null when all of it is missing or extra. */
  field: string | null
  /** Amounts are integer minor units of the object's currency. */
  here: string | number | null
  there: string | number | null
  /** Whose value `here` is: that of the purchase's own rows, or of the mirror. */
  source: 'purchases' | 'mirror'
  compared_with: 'mirror' | 'stripe'
  /** Null: nothing of ours repairs it, so a person has to look at it in Stripe's dashboard. */
  repair: Repair | null
}

export type DriftSummary = Record<DriftKind, number>

export const NO_DRIFT: DriftSummary = { missing: 0, extra: 0, different: 0 }
