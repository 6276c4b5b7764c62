import type { Db } from '../../../db/connect.ts'
import type { StripeConnection } from '../../client.ts'
import { type FollowedClock, followClock, readingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import type { SyncError } from '../sync-outcome.ts'
import type { RunCursor } from './run-cursor.ts'
import type { ClaimedRun } from './run-store.ts'
import { type RunStep, type SavedStep, saveStep } from './save-page.ts'
import { MOST_DETAILS, type RunCounts, type RunDetail, type SyncRun } from './sync-run.ts'

type Options = { leaseSeconds: number; signal: AbortSignal; onProgress?: (run: SyncRun) => void }

/** A run is not this process's any more: it was cancelled, or taken over after its lease ended. */
class RunLost extends Error {
  override readonly name = 'RunLost'
}

/** A run while a process works on it: what is counted and told, and each step written as it is done. */
export class RunProgress {
  readonly action: StripeSyncAction<StripeObject>
  readonly run: ClaimedRun
  readonly connection: StripeConnection
  readonly clock: FollowedClock
  readonly signal: AbortSignal
  isLost = false
  /** Where the run stands: the cursor of the last step. */
  cursor: RunCursor | null
  #options: Options
  #counts: RunCounts
  #requests: number
  #details: RunDetail[]
  #newDetails = false

  private constructor(
    action: StripeSyncAction<StripeObject>,
    run: ClaimedRun,
    options: Options,
    parts: { connection: StripeConnection; clock: FollowedClock },
  ) {
    this.action = action
    this.run = run
    this.cursor = run.cursor
    this.connection = parts.connection
    this.clock = parts.clock
    this.signal = options.signal
    this.#options = options
    this.#counts = { ...run.counts }
    this.#requests = run.requests
    this.#details = [...run.details]
  }

  static async begin(
    action: StripeSyncAction<StripeObject>,
    run: ClaimedRun,
    options: Options,
  ): Promise<RunProgress> {
    const clock = followClock(await readingTime(action.context.db))
    return new RunProgress(action, run, options, {
      connection: await action.context.connect(),
      clock,
    })
  }

  get db(): Db {
    return this.action.context.db
  }

  get isDry(): boolean {
    return this.run.options.dryRun
  }

  /** Notes what became of one object; it is written with the next step. */
  note(detail: RunDetail): void {
    if (this.#details.length >= MOST_DETAILS) return
    this.#details.push(detail)
    this.#newDetails = true
  }

  /** How the run has gone, once all of it is done. */
  verdict(): { state: 'succeeded' | 'failed'; error: SyncError | null } {
    const { failed } = this.#counts
    if (failed === 0) return { state: 'succeeded', error: null }
    const message = `${failed} ${failed === 1 ? 'object' : 'objects'} could not be stored; all others are.`
    return { state: 'failed', error: { code: 'objects_failed', message, stripe_request_id: null } }
  }

  /** A step that stores nothing and stays where it is. */
  idle(): Omit<RunStep, 'details'> {
    return { rows: [], asOf: 0, listed: null, counts: {}, requests: 0, cursor: this.cursor }
  }

  /** Writes a step. @throws RunLost when the run is not this process's any more. */
  async save(step: Omit<RunStep, 'details'>): Promise<void> {
    const { run } = this
    const details = this.#newDetails ? this.#details : null
    const saved = await saveStep(
      this.db,
      this.action.resource,
      { ...run, dryRun: this.isDry },
      { ...step, details },
      this.#options.leaseSeconds,
    )
    if (!saved.held) {
      this.isLost = true
      throw new RunLost(`Run ${run.id} is not ours any more`)
    }
    if (details !== null) this.#newDetails = false
    this.cursor = step.cursor
    this.clock.follow(saved.now)
    this.#take(step, saved)
    this.#options.onProgress?.({
      ...run,
      counts: { ...this.#counts },
      requests: this.#requests,
      details: [...this.#details],
    })
  }

  #take(step: Pick<RunStep, 'counts' | 'requests'>, saved: SavedStep): void {
    for (const [count, more] of Object.entries(step.counts)) {
      this.#counts[count as keyof RunCounts] += more // the keys of a Partial<RunCounts>
    }
    for (const [count, more] of Object.entries(saved.stored)) {
      this.#counts[count as keyof RunCounts] += more // the same
    }
    this.#requests += step.requests
    // They are written already.
    const space = MOST_DETAILS - this.#details.length
    this.#details.push(...(saved.changes ?? []).slice(0, space))
  }
}
