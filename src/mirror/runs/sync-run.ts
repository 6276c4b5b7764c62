import { z } from 'zod'
import type { SyncError } from '../sync-outcome.ts'

export const SYNC_RUN_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const

export type SyncRunState = (typeof SYNC_RUN_STATES)[number]

/** Who asked for a run. */
export const SYNC_RUN_STARTERS = ['api', 'cli', 'timer', 'code'] as const

export type SyncRunStarter = (typeof SYNC_RUN_STARTERS)[number]

/** What a run is asked to do; all of it is kept with the run, so that another process can go on. */
export type SyncRunOptions = {
  /** Only these objects. */
  ids: string[] | null
  /** Only objects created at Stripe from this moment on. Nothing is deleted then. */
  since: Date | null
  /** Delete whatever is gone at Stripe, however much it is. */
  force: boolean
  /** Change nothing and tell what would change. */
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
 * Objects by what became of them. `fetched` counts more than the others together where objects name
 * another conference of the same Stripe account.
 */
export type SyncRunCounts = { [Count in (typeof COUNT_NAMES)[number]]: number }

/** What became of a single object: every failure, every deletion, in a dry run every change. */
export type SyncRunDetail = {
  id: string
  outcome: 'created' | 'updated' | 'deleted' | 'failed'
  message: string | null
}

/** More are counted but not told one by one. */
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
 * A part of a listing that is still to be read. `variant`: which of the resource's lists; `gte` and
 * `lt`: the bounds of `created`, in seconds; `after`: the last id that was stored; `oldest`: its
 * `created`.
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
 * Where a run stands. `windows`: what of the listing is left; none when it is complete. `parent`: the
 * last parent whose list was read, where there is one list for each. `ids`: how many of the run's own
 * ids are done.
 */
const cursor = z.discriminatedUnion('by', [
  z.object({ by: z.literal('windows'), windows: z.array(window) }),
  z.object({
    by: z.literal('parents'),
    done: z.boolean(),
    parent: z.string().nullable(),
  }),
  z.object({ by: z.literal('ids'), done: z.int() }),
])

export type RunCursor = z.infer<typeof cursor>

/** The cursor that a run has stored, or null when there is none that this release understands. */
export function readCursor(stored: unknown): RunCursor | null {
  return cursor.safeParse(stored).data ?? null
}

// A dead worker's job is free again after at most two thirds of LEASE_SECONDS (see heartbeat.ts). The
// run must be free by then too, so that somebody takes it within the whole.
const LEASE_SHARE = 2 / 3

/** How long a process holds a run without a sign of life. Seconds, of LEASE_SECONDS. */
export function runLeaseSeconds(leaseSeconds: number): number {
  return leaseSeconds * LEASE_SHARE
}
