import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Db } from '../db/connect.ts'
import { type Read, type ReadPools, type ReadReplica, readFrom } from '../db/read-replica.ts'
import { principalOf } from './access-control.ts'

/**
 * The operations that may read a replica: long lists, reports and exports. This is the only place that decides it.
 * All other reads go to the primary: single objects, which people and programs poll; short lists of settings; and
 * what must be complete, such as an export of personal data.
 */
export const REPLICA_OPERATIONS: ReadonlySet<string> = new Set([
  'listPurchases',
  'listAllPurchases',
  'reportPurchases',
  'reportVouchers',
  'reportMoney',
  'reportIssueTimes',
  'listVouchers',
  'listVoucherBatches',
  'listPurchaseVouchers',
  'listBatchVouchers',
  'listRedemptions',
  'listSponsors',
  'listAuditLog',
  'listStripeEvents',
  'listWebhookDeliveries',
  'listStripeObjects',
])

/** The reads of a request. */
export type Reads = {
  /** For one page or report, or for the short transactions of an export. */
  of(request: FastifyRequest, kind?: 'page' | 'export'): Promise<Read>
}

/** A replica and its connections. */
export type ConnectedReplica = Pick<ReadReplica, 'reader' | 'noteWrites'> & {
  db: Db
  exportDb: Db
}

type ReadsDeps = {
  db: Db
  exportDb: Db
  /** Null: the primary answers everything. */
  replica: ConnectedReplica | null
}

export function createReads({ db, exportDb, replica }: ReadsDeps): Reads {
  const pools: Record<'page' | 'export', ReadPools> = {
    page: { primary: db, replica: replica?.db ?? db },
    export: { primary: exportDb, replica: replica?.exportDb ?? exportDb },
  }
  return {
    async of(request, kind = 'page') {
      if (!REPLICA_OPERATIONS.has(operationOf(request))) {
        throw new Error('The operation is not one of REPLICA_OPERATIONS')
      }
      if (replica === null) return readFrom(pools[kind].primary)
      const writers = [principalOf(request).id, request.conferenceId ?? []].flat()
      return replica.reader(writers, pools[kind])
    },
  }
}

function operationOf({ routeOptions }: FastifyRequest): string {
  const { schema } = routeOptions.config.documentedAs ?? routeOptions
  return schema?.operationId ?? ''
}

/** Notes what a caller has written, before the response: the next request may read a replica. */
export function noteWritesOfCallers(
  app: FastifyInstance,
  replica: Pick<ReadReplica, 'noteWrites'> | null,
): void {
  if (replica === null) return
  app.addHook('onSend', async (request) => {
    if (request.principal === null || request.method === 'GET' || request.method === 'HEAD') return
    await replica.noteWrites(request.principal.id)
  })
}
