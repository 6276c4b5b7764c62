import { z } from 'zod'
import {
  conferenceParams,
  id,
  optionalBody,
  pageOf,
  pageQuery,
  stripeId,
} from '../../http/common-schemas.ts'
import { timestamp, timestampInput, toTimestamp } from '../../shared/time.ts'
import { resourceName } from '../mirror-schemas.ts'
import { COUNT_NAMES, SYNC_RUN_STARTERS, SYNC_RUN_STATES, type SyncRun } from './sync-run.ts'

/** Maximum number of ids in one request. */
const MAX_IDS = 1_000

const state = z.enum(SYNC_RUN_STATES).meta({
  id: 'SyncRunState',
  description:
    '`queued`: waits for a worker, or for the rate limit of the Stripe account. `failed`: see `error`; everything stored before the failure is kept.',
})

export const startSyncRunBody = optionalBody(
  z.strictObject({
    ids: z
      .array(stripeId)
      .min(1)
      .max(MAX_IDS)
      .optional()
      .meta({ description: 'Sync only these objects. Default: all objects.' }),
    since: timestampInput.optional().meta({
      description:
        'Sync only objects created at Stripe since then. Such a run marks no object as deleted.',
    }),
    force: z.boolean().default(false).meta({
      description:
        'Allow the run to mark any number of objects as deleted. Without `force`, a run fails if more than 10 objects and more than 20 % of the objects that it covers no longer exist at Stripe.',
    }),
    dry_run: z
      .boolean()
      .default(false)
      .meta({ description: 'Change nothing. `details` lists the changes that a sync would make.' }),
  }),
)

export const syncRunParams = conferenceParams.extend({ run: id })

export const syncRunQuery = z.strictObject({
  resource: resourceName.optional(),
  state: state.optional(),
  ...pageQuery,
})

const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  stripe_request_id: z.string().nullable(),
})

const counts = z.object(Object.fromEntries(COUNT_NAMES.map((count) => [count, z.int()]))).meta({
  description:
    'Numbers of objects, by outcome. `fetched` can be greater than the sum of the others: it also counts objects of other conferences that use the same Stripe account.',
})

export const syncRunSchema = z
  .object({
    id: z.string(),
    object: z.literal('sync_run'),
    resource: z.string(),
    state,
    started_by: z.enum(SYNC_RUN_STARTERS),
    ids: z.array(z.string()).nullable(),
    since: timestamp.nullable(),
    force: z.boolean(),
    dry_run: z.boolean(),
    counts,
    requests: z.int().meta({ description: 'Requests to Stripe so far.' }),
    duration_seconds: z.number().nullable(),
    details: z
      .array(
        z.object({
          id: z.string(),
          outcome: z.enum(['created', 'updated', 'deleted', 'failed']),
          message: z.string().nullable(),
        }),
      )
      .meta({
        description:
          'Objects that failed or were deleted; in a dry run also those that would change. At most 1,000; `counts` includes all.',
      }),
    error: errorSchema.nullable(),
    created_at: timestamp,
    started_at: timestamp.nullable(),
    finished_at: timestamp.nullable(),
  })
  .meta({ id: 'SyncRun' })

export const syncRunPage = pageOf(syncRunSchema).meta({ id: 'SyncRunPage' })

/** Seconds from the start to the end, or until now for an active run. */
export function runDurationSeconds({ startedAt, finishedAt }: SyncRun): number | null {
  if (startedAt === null) return null
  return ((finishedAt ?? new Date()).getTime() - startedAt.getTime()) / 1000
}

export function toSyncRunBody(run: SyncRun): z.infer<typeof syncRunSchema> {
  return {
    id: run.id,
    object: 'sync_run',
    resource: run.resource,
    state: run.state,
    started_by: run.startedBy,
    ids: run.options.ids,
    since: toTimestamp(run.options.since),
    force: run.options.force,
    dry_run: run.options.dryRun,
    counts: run.counts,
    requests: run.requests,
    duration_seconds: runDurationSeconds(run),
    details: run.details,
    error: run.error,
    created_at: toTimestamp(run.createdAt),
    started_at: toTimestamp(run.startedAt),
    finished_at: toTimestamp(run.finishedAt),
  }
}
