import type { Tx } from '../../db/connect.ts'
import { DRIFT_RESOURCES, type DriftResource, type Repair } from './drift-line.ts'
import { syncRepair } from './repair-of.ts'

/**
 * Whether the mirror can be compared with. `synced_at`: when the last full sync began that went
 * through to the end. Null: there was none, so what the mirror lacks says nothing; `repair` is the
 * sync that changes that.
 */
export type ResourceState = { synced_at: Date | null; repair: Repair | null }

export type MirrorState = { readonly [Resource in DriftResource]: ResourceState }

/** When each resource that is compared was last synced whole. */
export async function mirrorState(
  trx: Tx,
  conferenceId: string,
  conference: string,
): Promise<MirrorState> {
  const rows = await trx('sync_runs')
    .where({ conference_id: conferenceId, state: 'succeeded', dry_run: false })
    .whereIn('resource', [...DRIFT_RESOURCES])
    .whereNull('ids')
    .whereNull('since')
    .groupBy('resource')
    .select<{ resource: string; synced_at: Date }[]>(
      'resource',
      trx.raw('max(listed_from) as synced_at'),
    )
  const state = (resource: DriftResource): ResourceState => {
    const syncedAt = rows.find((row) => row.resource === resource)?.synced_at ?? null
    const repair = syncedAt === null ? syncRepair(conference, resource, null) : null
    return { synced_at: syncedAt, repair }
  }
  return {
    'payment-intents': state('payment-intents'),
    refunds: state('refunds'),
    disputes: state('disputes'),
    'checkout-sessions': state('checkout-sessions'),
  }
}

/** The resources that were never synced whole. */
export function neverSynced(state: MirrorState): Set<DriftResource> {
  return new Set(DRIFT_RESOURCES.filter((resource) => state[resource].synced_at === null))
}
