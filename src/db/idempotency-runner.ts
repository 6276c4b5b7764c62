import type { Db, Tx } from './connect.ts'
import { withTenant } from './tenant-scope.ts'

/**
 * Runs one operation at most once under an idempotency key. The HTTP layer makes a runner for each
 * request; see http/idempotency.ts.
 */
export type IdempotencyRunner = {
  /**
   * For an operation that is one transaction. Its result is stored in the same commit, and a repeat
   * gets the stored result.
   */
  run<T>(work: (trx: Tx) => Promise<T>): Promise<T>
  /**
   * For an operation that also calls Stripe. `begin` creates the row that the operation is about (an
   * attempt, a refund request) and returns its name; `finish` does the rest from that name alone. A
   * repeat after a crash finds the name and runs only `finish`.
   */
  resume<T>(steps: ResumableSteps<T>): Promise<T>
}

export type ResumableSteps<T> = {
  begin: (trx: Tx) => Promise<string>
  /** `isRepeat`: `finish` ran before for this resource, and its outcome is unknown. */
  finish: (resource: string, isRepeat: boolean) => Promise<T>
}

/** For callers that have no idempotency key, such as the CLI: every call runs. */
export function withoutIdempotencyKey(db: Db, conferenceId: string): IdempotencyRunner {
  const inTransaction = <T>(work: (trx: Tx) => Promise<T>) => withTenant(db, { conferenceId }, work)
  return {
    run: inTransaction,
    resume: async ({ begin, finish }) => finish(await inTransaction(begin), false),
  }
}
