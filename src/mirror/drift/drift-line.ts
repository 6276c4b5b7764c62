/**
 * "Here" are the rows of the purchases (or of the mirror), "there" is the mirror or Stripe itself.
 *
 * - `missing`: the object exists here but not there.
 * - `extra`: the object exists there but not here, and names one of our purchases or belongs to a known
 *   payment.
 * - `different`: the object exists on both sides with different values.
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

/** The mirror resources that purchases are compared with. */
export const DRIFT_RESOURCES = [
  'payment-intents',
  'refunds',
  'disputes',
  'checkout-sessions',
] as const
export type DriftResource = (typeof DRIFT_RESOURCES)[number]

/** A request to this API. */
export type RepairRequest = { method: 'POST'; path: string; body?: { [member: string]: unknown } }

/** How to repair a difference: with a command, or with the equivalent request. */
export type Repair = { command: string; request: RepairRequest }

/** One difference. */
export type DriftLine = {
  kind: DriftKind
  what: DriftObject
  purchase: string | null
  stripe_id: string | null
  resource: DriftResource
  /** The field that differs. Null for a missing or extra object. */
  field: string | null
  /** Amounts are integers in minor units of the object's currency. */
  here: string | number | null
  there: string | number | null
  /** Whether `here` is a value of the purchase's rows or of the mirror. */
  source: 'purchases' | 'mirror'
  compared_with: 'mirror' | 'stripe'
  /** Null if the service cannot repair it: a person must check the Stripe dashboard. */
  repair: Repair | null
}

export type DriftSummary = Record<DriftKind, number>

export const NO_DRIFT: DriftSummary = { missing: 0, extra: 0, different: 0 }

export type RepairScope = {
  /** Slug or id, as the caller gave it. */
  conference: string
  comparedWith: 'mirror' | 'stripe'
  /** Resources without a successful full sync. Their lines suggest a full sync instead of single ids. */
  neverSynced: ReadonlySet<DriftResource>
}

const PROGRAM = 'npx sponsor-vouchers'

// Users paste the command into a shell, and Stripe does not specify the characters of its ids.
const shellWord = (text: string) =>
  /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

const conferencePath = (conference: string) => `/v1/conferences/${encodeURIComponent(conference)}`

/** The repair that syncs a whole resource, or the objects with these ids. */
export function syncRepair(
  conference: string,
  resource: DriftResource,
  ids: readonly string[] | null,
): Repair {
  const only = ids === null ? '' : ` --ids ${ids.map(shellWord).join(',')}`
  return {
    command: `${PROGRAM} sync ${resource} --conference ${shellWord(conference)}${only}`,
    request: {
      method: 'POST',
      path: `${conferencePath(conference)}/stripe/${resource}/sync`,
      body: ids === null ? {} : { ids: [...ids] },
    },
  }
}

function reconcileRepair(conference: string, purchase: string, payment: string | null): Repair {
  const path = `${conferencePath(conference)}/purchases/${encodeURIComponent(purchase)}/reconcile`
  const command = `${PROGRAM} purchases:reconcile ${shellWord(purchase)} --conference ${shellWord(conference)}`
  if (payment === null) return { command, request: { method: 'POST', path } }
  return {
    command: `${command} --payment-intent ${shellWord(payment)}`,
    request: { method: 'POST', path, body: { payment_intent: payment } },
  }
}

/**
 * - `reconcile`: reconciles the purchase, which updates its rows and the mirror.
 * - `adopt`: reconciles the purchase with a payment that it does not know yet.
 * - `sync`: syncs the one object into the mirror.
 */
export type RepairKind = 'reconcile' | 'adopt' | 'sync'

/** The command and the request that repair a line. Null if the service cannot repair it. */
export function toRepair(
  kind: RepairKind | null,
  line: Pick<DriftLine, 'resource' | 'source' | 'purchase' | 'stripe_id'>,
  paymentIntent: string | null,
  { conference, comparedWith, neverSynced }: RepairScope,
): Repair | null {
  const { resource, source, purchase, stripe_id: id } = line
  switch (kind) {
    case null:
      return null
    case 'reconcile':
      return purchase === null ? null : reconcileRepair(conference, purchase, null)
    case 'adopt':
      return purchase === null ? null : reconcileRepair(conference, purchase, paymentIntent)
    case 'sync':
      // A sync of the mirror cannot repair a difference between a purchase and Stripe itself.
      if (id === null || (source === 'purchases' && comparedWith === 'stripe')) return null
      return syncRepair(conference, resource, neverSynced.has(resource) ? null : [id])
  }
}
