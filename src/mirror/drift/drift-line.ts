import type { DriftCheck, DriftRow } from './drift-check.ts'

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

/** What decides how a line can be repaired, beside the line itself. */
export type RepairScope = {
  /** Slug or id, as the reader names it. */
  conference: string
  comparedWith: 'mirror' | 'stripe'
  /** Resources that were never synced whole: their lines ask for that, and not for ids one by one. */
  neverSynced: ReadonlySet<DriftResource>
}

const PROGRAM = 'npx sponsor-vouchers'

// Stripe does not promise what its ids are made of, and the line is meant to be pasted into a shell.
const shellWord = (text: string) =>
  /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

const conferencePath = (conference: string) => `/v1/conferences/${encodeURIComponent(conference)}`

/** Reads a whole resource into the mirror, or some of its objects. */
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

/** The command and the request that repair a line, or null when nothing of ours does. */
export function toRepair(
  check: Pick<DriftCheck, 'resource' | 'source'>,
  row: Pick<DriftRow, 'repair' | 'purchase' | 'stripe_id' | 'payment_intent'>,
  { conference, comparedWith, neverSynced }: RepairScope,
): Repair | null {
  const { purchase, stripe_id: id } = row
  switch (row.repair) {
    case null:
      return null
    case 'reconcile':
      return purchase === null ? null : reconcileRepair(conference, purchase, null)
    case 'adopt':
      return purchase === null ? null : reconcileRepair(conference, purchase, row.payment_intent)
    case 'sync':
      // What Stripe itself says otherwise no reading of the mirror mends.
      if (id === null || (check.source === 'purchases' && comparedWith === 'stripe')) return null
      return syncRepair(conference, check.resource, neverSynced.has(check.resource) ? null : [id])
  }
}
