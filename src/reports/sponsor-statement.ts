import type { Tx } from '../db/connect.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { getSponsor } from '../sponsors/sponsor-store.ts'
import { toAccounts } from './book-orders.ts'
import { findOrders } from './statement-query.ts'
import { type StatementBody, type StatementQuery, toAccountBody } from './statement-schemas.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** Microseconds since 1970 of the begin of a day in UTC. */
const startOf = (day: string) => Date.parse(`${day}T00:00:00Z`) * 1000

/**
 * What a sponsor ordered, paid and got back in a period, for each currency. A sponsor gets only its own.
 *
 * @throws AppError `not_found`, also for another sponsor's.
 */
export async function readStatement(
  trx: Tx,
  { conferenceId, sponsorId }: Pick<Caller, 'conferenceId' | 'sponsorId'>,
  reference: string,
  { from, to }: StatementQuery,
): Promise<StatementBody> {
  const sponsor = await getSponsor(trx, conferenceId, reference)
  if (sponsorId !== null && sponsor.id !== sponsorId) throw notFound('sponsor')
  const accounts = toAccounts(await findOrders(trx, conferenceId, sponsor.id), {
    from: from === undefined ? 0 : startOf(from),
    until: to === undefined ? Number.POSITIVE_INFINITY : startOf(to) + DAY_MS * 1000,
  })
  return {
    object: 'sponsor_statement',
    sponsor: sponsor.id,
    sponsor_name: sponsor.name,
    from: from ?? null,
    to: to ?? null,
    time_zone: 'UTC',
    accounts: accounts.map(toAccountBody),
  }
}
