import type { Db } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import { sha256 } from '../shared/cryptography.ts'
import { livemodeOf } from './stripe-credentials.ts'

// `other` is another conference with the same Stripe account, as far as we know it, and the same mode.
const SHARED_SQL = `(own.stripe_secret_key_sealed is not null and (own.sees_other_conference or exists (
  select from conferences other
  where other.id <> own.id and other.livemode = own.livemode
    and (other.stripe_account = own.stripe_account
      or other.stripe_key_fingerprint = own.stripe_key_fingerprint))))`

/**
 * Those of the conferences that share their Stripe account with another conference. Reads the rows of
 * other conferences, so it needs a transaction of its own.
 */
export async function findSharingConferences(
  db: Db,
  conferenceIds: readonly string[],
): Promise<Set<string>> {
  const ids = await withSystem(db, 'manage-conferences', (trx) =>
    trx('conferences as own')
      .whereIn('own.id', [...conferenceIds])
      .whereRaw(SHARED_SQL)
      .pluck<string[]>('own.id'),
  )
  return new Set(ids)
}

/** Whether another conference than this one uses the account of a key that is about to be set. */
export async function isAccountUsedByAnother(
  db: Db,
  conferenceId: string | null,
  key: string,
  account: string | null,
): Promise<boolean> {
  const other = await withSystem(db, 'manage-conferences', (trx) =>
    trx('conferences')
      .where({ livemode: livemodeOf(key) })
      .whereNot({ id: conferenceId ?? '' })
      .where((same) => {
        void same.where({ stripe_key_fingerprint: sha256(key) })
        if (account !== null) void same.orWhere({ stripe_account: account })
      })
      .first('id'),
  )
  return other !== undefined
}

/**
 * Notes that objects of the conference's Stripe account name these conferences. Returns whether one of
 * them exists here: then the account is shared, although Stripe may not have named the account.
 */
export async function noteOtherConferences(
  db: Db,
  conferenceId: string,
  named: readonly string[],
): Promise<boolean> {
  const noted = await withSystem(db, 'manage-conferences', (trx) =>
    trx('conferences')
      .where({ id: conferenceId })
      .whereExists(
        trx('conferences as other')
          .whereIn('other.id', [...named])
          .select(trx.raw('1')),
      )
      .update({ sees_other_conference: true }),
  )
  return noted > 0
}
