import type { DriftCheck, DriftRow } from './drift-check.ts'
import type { DriftResource, Repair } from './drift-line.ts'

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
const word = (text: string) =>
  /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

const pathOf = (conference: string) => `/v1/conferences/${encodeURIComponent(conference)}`

/** Reads a whole resource into the mirror, or some of its objects. */
export function syncRepair(
  conference: string,
  resource: DriftResource,
  ids: readonly string[] | null,
): Repair {
  const only = ids === null ? '' : ` --ids ${ids.map(word).join(',')}`
  return {
    command: `${PROGRAM} sync ${resource} --conference ${word(conference)}${only}`,
    request: {
      method: 'POST',
      path: `${pathOf(conference)}/stripe/${resource}/sync`,
      body: ids === null ? {} : { ids: [...ids] },
    },
  }
}

function reconcileRepair(conference: string, purchase: string, payment: string | null): Repair {
  const path = `${pathOf(conference)}/purchases/${encodeURIComponent(purchase)}/reconcile`
  const command = `${PROGRAM} purchases:reconcile ${word(purchase)} --conference ${word(conference)}`
  if (payment === null) return { command, request: { method: 'POST', path } }
  return {
    command: `${command} --payment-intent ${word(payment)}`,
    request: { method: 'POST', path, body: { payment_intent: payment } },
  }
}

/** The command and the request that repair a line, or null when nothing of ours does. */
export function repairOf(
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
