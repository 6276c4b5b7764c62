import { errorText } from '../../inbox/error-text.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { endSubscriptions } from './end-subscriptions.ts'

/** Who the subscriptions name for what the clock did. */
const BY = 'end_subscriptions'

/**
 * The job of the clock: cancels a conference's due subscriptions at the end of their periods.
 *
 * @throws Error when one could not be cancelled, after the others were; the job is tried again then.
 */
export async function endDueSubscriptions(
  deps: BillingDeps,
  conferenceId: string,
  signal: AbortSignal,
): Promise<void> {
  const { clients, logger } = deps
  // Nobody waits for a single one of them.
  const patient = {
    ...deps,
    clients: { ...clients, connect: (id: string) => clients.background(id) },
  }
  const ended = await endSubscriptions(patient, { conferenceId, now: false, by: BY, signal })
  const failed = ended.flatMap((one) => ('error' in one ? [one] : []))
  for (const { id, error } of failed) {
    logger.warn(
      { conference: conferenceId, subscription: id, error: errorText(error) },
      'a subscription whose end date has come could not be cancelled',
    )
  }
  if (ended.length > 0) {
    const counts = { ended: ended.length - failed.length, failed: failed.length }
    logger.info({ conference: conferenceId, ...counts }, 'cancelled what was due')
  }
  if (failed.length > 0) {
    throw new Error(`${failed.length} of ${ended.length} subscriptions could not be cancelled`)
  }
}
