import { type ConferenceRow, listConferences } from '../../conferences/conference-store.ts'
import type { Db } from '../../db/connect.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import { findConference } from '../find-conference.ts'
import { UsageError } from '../usage-error.ts'

/**
 * The id of the conference that is named, else of the only one with a Stripe key.
 *
 * @throws UsageError when there are several; AppError `stripe_key_missing` when there is none.
 */
export async function conferenceWithKey(db: Db, reference: string | undefined): Promise<string> {
  if (reference !== undefined) return (await findConference(db, reference)).conferenceId
  const [only, ...others] = await allWithKey(db)
  if (only === undefined) {
    throw new AppError('stripe_key_missing', 'No conference has a Stripe key.')
  }
  if (others.length > 0) {
    const slugs = [only, ...others].map(({ slug }) => slug).join(', ')
    throw new UsageError(`name one with --conference, several have a Stripe key: ${slugs}`)
  }
  return only.id
}

async function allWithKey(db: Db): Promise<ConferenceRow[]> {
  const found: ConferenceRow[] = []
  let cursor: string | undefined
  do {
    const query = { limit: 100, cursor }
    const page = await withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query))
    found.push(...page.data.filter((row) => row.stripe_secret_key_last4 !== null))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return found
}
