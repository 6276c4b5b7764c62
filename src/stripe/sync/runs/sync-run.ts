import type { SyncError } from '../sync-outcome.ts'

export const RUN_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const

export type RunState = (typeof RUN_STATES)[number]

/** Who asked for a run. */
export const RUN_STARTERS = ['api', 'cli', 'timer', 'code'] as const

export type RunStarter = (typeof RUN_STARTERS)[number]

/** What a run is asked to do; all of it is kept with the run, so that another process can go on. */
export type RunOptions = {
  /** Only these objects. */
  ids: string[] | null
  /** Only objects created at Stripe from this moment on. Nothing is deleted then. */
  since: Date | null
  /** Delete whatever is gone at Stripe, however much it is. */
  force: boolean
  /** Change nothing and tell what would change. */
  dryRun: boolean
}

export const NO_OPTIONS: RunOptions = { ids: null, since: null, force: false, dryRun: false }

export const COUNTED = ['fetched', 'created', 'updated', 'unchanged', 'deleted', 'failed'] as const

/**
 * Objects by what became of them. `fetched` counts more than the others together where objects name
 * another conference of the same Stripe account.
 */
export type RunCounts = { [Count in (typeof COUNTED)[number]]: number }

/** What became of a single object: every failure, every deletion, in a dry run every change. */
export type RunDetail = {
  id: string
  outcome: 'created' | 'updated' | 'deleted' | 'failed'
  message: string | null
}

/** More are counted but not told one by one. */
export const MOST_DETAILS = 1_000

export type SyncRun = {
  conferenceId: string
  id: string
  resource: string
  state: RunState
  startedBy: RunStarter
  options: RunOptions
  counts: RunCounts
  requests: number
  details: RunDetail[]
  error: SyncError | null
  createdAt: Date
  startedAt: Date | null
  finishedAt: Date | null
}

export type RunRef = { conferenceId: string; runId: string }
