import type { Tx } from '../db/connect.ts'

/** Which of a conference's Stripe events a check compares. `since`, `keySetAt`: Unix seconds. */
export type EventCheckRange = {
  owner: { id: string; livemode: boolean | null; stripeAccount: string | null }
  slug: string
  /** One hour before the start of the last check; for the first check, when the key was stored. */
  since: number
  keySetAt: number
  startedAt: Date
}

export async function loadEventCheckRange(trx: Tx, conferenceId: string): Promise<EventCheckRange> {
  const row = await trx('conferences')
    .where({ id: conferenceId })
    .first<{
      slug: string
      livemode: boolean | null
      stripe_account: string | null
      since: number
      key_set_at: number
      now: Date
    }>(
      'slug',
      'livemode',
      'stripe_account',
      trx.raw(`floor(extract(epoch from
        coalesce(events_checked_until - interval '1 hour', stripe_key_set_at)))::bigint as since`),
      trx.raw('floor(extract(epoch from stripe_key_set_at))::bigint as key_set_at'),
      trx.raw('now() as now'),
    )
  return {
    owner: { id: conferenceId, livemode: row.livemode, stripeAccount: row.stripe_account },
    slug: row.slug,
    since: row.since,
    keySetAt: row.key_set_at,
    startedAt: row.now,
  }
}

/** Records a completed check: the next one starts an hour before this one started. */
export async function saveEventCheck(
  trx: Tx,
  { owner, startedAt }: Pick<EventCheckRange, 'owner' | 'startedAt'>,
): Promise<void> {
  await trx('conferences').where({ id: owner.id }).update({ events_checked_until: startedAt })
}

/**
 * Returns true at most once in `everyHours`, in all processes: the caller then sends the mail about
 * missing events.
 */
export async function claimMissedEventsMail(
  trx: Tx,
  conferenceId: string,
  everyHours: number,
): Promise<boolean> {
  const claimed = await trx('conferences')
    .where({ id: conferenceId })
    .whereRaw(`coalesce(events_alarmed_at, '-infinity') < now() - make_interval(hours => ?)`, [
      everyHours,
    ])
    .update({ events_alarmed_at: trx.fn.now() })
  return claimed === 1
}

/**
 * Claims the check of the conference's events under this id, or prolongs the claim. Returns false while
 * another check holds it. The claim of a process that died ends with its lease.
 */
export async function claimEventCheck(
  trx: Tx,
  conferenceId: string,
  checkId: string,
  leaseSeconds: number,
): Promise<boolean> {
  const claimed = await trx('conferences')
    .where({ id: conferenceId })
    .where((free) => {
      void free
        .where({ events_check_id: checkId })
        .orWhereRaw(`coalesce(events_check_lease_until, '-infinity') < now()`)
    })
    .update({
      events_check_id: checkId,
      events_check_lease_until: trx.raw('now() + make_interval(secs => ?)', [leaseSeconds]),
    })
  return claimed === 1
}

/** Ends the claim, unless another check has taken it over. */
export async function releaseEventCheck(
  trx: Tx,
  conferenceId: string,
  checkId: string,
): Promise<void> {
  await trx('conferences')
    .where({ id: conferenceId, events_check_id: checkId })
    .update({ events_check_id: null, events_check_lease_until: null })
}
