import type { Tx } from '../db/connect.ts'
import { notFound } from '../shared/errors.ts'

/** Work that needs a valid key is retried after 2 seconds at first, and after 15 minutes at most. */
const MIN_WAIT_SECONDS = 2
const MAX_WAIT_SECONDS = 900

/** A key without a rejection for this long is considered valid: waiting work is retried more often. */
const REJECTED_FOR_SECONDS = 2 * MAX_WAIT_SECONDS

/** A transaction that sets a key takes less than this between its start and its commit. */
const COMMIT_SECONDS = 1

const ALARM_EVERY_HOURS = 6

/** Why a request to Stripe was not possible: Stripe rejected the key, or there is none. */
export type KeyProblem = 'rejected' | 'missing'

export type UnusableKey = {
  slug: string
  /** When the work that needs the key is retried, unless a key is set before. */
  waitSeconds: number
  /** True for one caller in six hours, in all processes: it tells the operators. */
  isAlarm: boolean
}

/**
 * Records that work of a conference failed because of its key. The wait is as long as the key has been
 * rejected, so it doubles with every retry. Work that began before the present key was set is retried
 * soon and says nothing about that key.
 *
 * Locks the conference's row, so it waits for a transaction that sets a key: that transaction either finds
 * the work waiting, or its key is visible here.
 *
 * @param elapsedSeconds how long ago the work began.
 */
export async function recordUnusableKey(
  trx: Tx,
  conferenceId: string,
  { problem, elapsedSeconds }: { problem: KeyProblem; elapsedSeconds: number },
): Promise<UnusableKey> {
  const row = await trx('conferences')
    .where({ id: conferenceId })
    .forNoKeyUpdate()
    .first<{ slug: string; has_key: boolean; has_new_key: boolean } | undefined>(
      'slug',
      trx.raw('stripe_secret_key_sealed is not null as has_key'),
      trx.raw(
        `coalesce(stripe_key_set_at > clock_timestamp() - make_interval(secs => ?), false)
           as has_new_key`,
        [elapsedSeconds + COMMIT_SECONDS],
      ),
    )
  if (row === undefined) throw notFound('conference')
  const { slug } = row
  if (row.has_new_key) return { slug, waitSeconds: MIN_WAIT_SECONDS, isAlarm: false }
  if (problem === 'missing') {
    const waitSeconds = row.has_key ? MIN_WAIT_SECONDS : MAX_WAIT_SECONDS
    return { slug, waitSeconds, isAlarm: false }
  }
  const rejectedSeconds = await recordRejection(trx, conferenceId)
  const waitSeconds = Math.min(Math.max(rejectedSeconds, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)
  return { slug, waitSeconds, isAlarm: await claimAlarm(trx, conferenceId) }
}

/** Returns for how many seconds Stripe has been rejecting the key. */
async function recordRejection(trx: Tx, conferenceId: string): Promise<number> {
  const [row] = await trx('conferences')
    .where({ id: conferenceId })
    .update({
      stripe_key_rejected_since: trx.raw(
        `case when stripe_key_rejected_at > now() - make_interval(secs => ?)
           then stripe_key_rejected_since else now() end`,
        [REJECTED_FOR_SECONDS],
      ),
      stripe_key_rejected_at: trx.fn.now(),
    })
    .returning<{ seconds: number }[]>(
      trx.raw('extract(epoch from now() - stripe_key_rejected_since)::float8 as seconds'),
    )
  return row?.seconds ?? 0
}

async function claimAlarm(trx: Tx, conferenceId: string): Promise<boolean> {
  const claimed = await trx('conferences')
    .where({ id: conferenceId })
    .whereRaw(`coalesce(stripe_key_alarmed_at, '-infinity') < now() - make_interval(hours => ?)`, [
      ALARM_EVERY_HOURS,
    ])
    .update({ stripe_key_alarmed_at: trx.fn.now() })
  return claimed === 1
}

/** The number of conferences whose key Stripe rejects, for the metrics. */
export async function countRejectedKeys(trx: Tx): Promise<number> {
  const [row] = await trx('conferences')
    .whereRaw('stripe_key_rejected_at > now() - make_interval(secs => ?)', [REJECTED_FOR_SECONDS])
    .count<{ count: number }[]>()
  return row?.count ?? 0
}
