import type Stripe from 'stripe'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError, isFinalRefusal } from '../shared/errors.ts'
import { makeOnce, type Outcome, type RemoteOperation } from '../stripe/remote-operation.ts'

/** Something to make at Stripe. A row of ours has its parameters and its idempotency key. */
export type RecordedOperation<T> = Pick<RemoteOperation<T>, 'send' | 'find'> & {
  /** Notes in the row that a request is sent now. `askedBefore`: one was noted before. */
  noteRequest: (trx: Tx) => Promise<Pick<RemoteOperation<T>, 'idempotencyKey' | 'askedBefore'>>
  /** Runs before the first request, unless an earlier one has made the object. Throws a refusal. */
  check?: () => Promise<void>
  saveMade: (trx: Tx, object: T) => Promise<unknown>
  saveRefusal: (trx: Tx, message: string) => Promise<unknown>
  /** Stripe stored an error under the row's idempotency key and made nothing: the row gets a new key. */
  renewKey: (trx: Tx) => Promise<unknown>
}

/** When Stripe stored an error under this many keys of a row, it has an outage. */
const MAX_KEYS = 2
const RETRY_AFTER_SECONDS = 2

/**
 * Makes at Stripe what a row records, once, and saves the outcome in the row. It may be repeated after a
 * crash or an unknown outcome, and it may run concurrently.
 *
 * @returns `refused` only if nothing was made.
 * @throws AppError of `check`, which is saved as a refusal; `stripe_key_rejected`, `stripe_unavailable`,
 *   `stripe_failed` after an unknown outcome.
 */
export async function makeRecorded<T>(
  db: Db,
  tenant: { conferenceId: string },
  operation: RecordedOperation<T>,
): Promise<Outcome<T>> {
  const commit = <R>(work: (trx: Tx) => Promise<R>) => withTenant(db, tenant, work)
  const refuse = (message: string) => commit((trx) => operation.saveRefusal(trx, message))
  const send = checkedSend(operation, refuse)
  for (let keys = 1; ; keys += 1) {
    const noted = await commit(operation.noteRequest)
    const outcome = await makeOnce<T>({ ...noted, send, find: operation.find })
    if (outcome.kind === 'made') {
      await commit((trx) => operation.saveMade(trx, outcome.object))
      return outcome
    }
    if (!outcome.storedError) {
      await refuse(outcome.message)
      return outcome
    }
    await commit(operation.renewKey)
    if (keys === MAX_KEYS) {
      const retryAfterSeconds = RETRY_AFTER_SECONDS
      throw new AppError('stripe_failed', outcome.message, { retryAfterSeconds })
    }
  }
}

/** `send`, with `check` before the first request. */
function checkedSend<T>(
  { check, send }: RecordedOperation<T>,
  refuse: (message: string) => Promise<unknown>,
): (options: Stripe.RequestOptions) => Promise<T> {
  let isChecked = false
  return async (options) => {
    try {
      if (!isChecked) await check?.()
    } catch (error) {
      if (isFinalRefusal(error)) await refuse(error.message)
      throw error
    }
    isChecked = true
    return send(options)
  }
}
