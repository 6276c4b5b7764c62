import { z } from 'zod'
import type { SyncError } from '../sync-outcome.ts'

export const SYNC_RUN_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const

export type SyncRunState = (typeof SYNC_RUN_STATES)[number]

/** What started a run. */
export const SYNC_RUN_STARTERS = ['api', 'cli', 'timer', 'code'] as const

export type SyncRunStarter = (typeof SYNC_RUN_STARTERS)[number]

/** What a run must do. Stored with the run, so another process can resume it. */
export type SyncRunOptions = {
  /** Sync only these objects. */
  ids: string[] | null
  /** Sync only objects created at Stripe since then. Such a run writes no tombstones. */
  since: Date | null
  /** Write tombstones without a limit. */
  force: boolean
  /** Change nothing; report what would change. */
  dryRun: boolean
}

export const NO_OPTIONS: SyncRunOptions = { ids: null, since: null, force: false, dryRun: false }

export const COUNT_NAMES = [
  'fetched',
  'created',
  'updated',
  'unchanged',
  'deleted',
  'failed',
] as const

/**
 * Numbers of objects, by outcome. `fetched` can be greater than the sum of the others: it also counts
 * objects of another conference with the same Stripe account.
 */
export type SyncRunCounts = { [Count in (typeof COUNT_NAMES)[number]]: number }

/** One object that failed or was deleted. A dry run also reports objects that it would change. */
export type SyncRunDetail = {
  id: string
  outcome: 'created' | 'updated' | 'deleted' | 'failed'
  message: string | null
}

/** Further objects are only counted. */
export const MAX_DETAILS = 1_000

export type SyncRun = {
  conferenceId: string
  id: string
  resource: string
  state: SyncRunState
  startedBy: SyncRunStarter
  options: SyncRunOptions
  counts: SyncRunCounts
  requests: number
  details: SyncRunDetail[]
  error: SyncError | null
  createdAt: Date
  startedAt: Date | null
  finishedAt: Date | null
}

export type SyncRunRef = { conferenceId: string; runId: string }

/**
 * A part of a listing that must still be read. `variant`: the index of the list in `variants`; `gte` and
 * `lt`: bounds of `created`, in seconds; `after`: the last stored id; `oldest`: its `created`.
 */
const window = z.object({
  variant: z.int(),
  gte: z.int().nullable(),
  lt: z.int().nullable(),
  after: z.string().nullable(),
  oldest: z.int().nullable(),
})

export type Window = z.infer<typeof window>

/**
 * The position of a run. `windows`: the parts of the listing that are left. `parents`: the last parent
 * whose list was stored. `ids`: how many of the run's `ids` are done, and which of them become tombstones
 * at the end.
 */
const cursor = z.discriminatedUnion('by', [
  z.object({ by: z.literal('windows'), windows: z.array(window) }),
  z.object({
    by: z.literal('parents'),
    done: z.boolean(),
    parent: z.string().nullable(),
  }),
  z.object({
    by: z.literal('ids'),
    done: z.int(),
    gone: z.array(z.object({ id: z.string(), asOf: z.int() })).default([]),
  }),
])

export type RunCursor = z.infer<typeof cursor>

/** Parses a stored cursor. Null if there is none or this release does not understand it. */
export function readCursor(stored: unknown): RunCursor | null {
  return cursor.safeParse(stored).data ?? null
}

// The jobs of a dead worker are released after at most two thirds of LEASE_SECONDS (see heartbeat.ts).
// The lease of its run must have expired by then, so that another worker resumes it within LEASE_SECONDS.
const LEASE_SHARE = 2 / 3

/** The lease of a run in seconds, for a given LEASE_SECONDS. */
export function runLeaseSeconds(leaseSeconds: number): number {
  return leaseSeconds * LEASE_SHARE
}
