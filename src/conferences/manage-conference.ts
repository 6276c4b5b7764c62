import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Caller } from '../shared/caller.ts'
import { type Encryption, sha256 } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { createConferenceBody, updateConferenceBody } from './conference-schemas.ts'
import type { Conference } from './conference-store.ts'
import {
  type ConferenceChanges,
  getConference,
  insertConference,
  type StripeKeyColumns,
  updateConference,
} from './conference-store.ts'
import { addWebhookSecret, livemodeOf, sealStripeKey } from './stripe-credentials.ts'

/** Asks Stripe for the account of a key. Implemented in stripe/. Call it outside of transactions. */
export type StripeAccountPort = {
  /** `acct_…`. Null without a key, and when Stripe did not answer or the key may not read it. */
  accountOf(stripeKey: string | undefined): Promise<string | null>
  /** @throws AppError `validation_failed` for a live key when STRIPE_API_BASE is not Stripe's. */
  assertUsable(stripeKey: string): void
}

type Deps = { encryption: Encryption; stripeAccounts: StripeAccountPort }

/** Whether the conference has any purchase. Implemented in purchases/. */
export type HasPurchases = (trx: Tx, conferenceId: string) => Promise<boolean>

// Only the operator may change the other fields.
const STAFF_FIELDS = new Set(['name', 'allowed_origins'])

/** Creates a tenant. @throws AppError `already_exists` when the slug is taken. */
export async function createConference(
  trx: Tx,
  deps: Deps,
  body: z.infer<typeof createConferenceBody>,
): Promise<Conference> {
  const id = newId('conference')
  const { stripe_secret_key, stripe_webhook_secret, ...settings } = body
  const conference = await insertConference(trx, {
    id,
    ...definedOnly(settings),
    slug: body.slug,
    name: body.name,
    currency: body.currency,
    ...(stripe_secret_key === undefined ? {} : keyColumns(deps, id, stripe_secret_key, null)),
  })
  if (stripe_webhook_secret !== undefined) {
    await addWebhookSecret(trx, deps.encryption, id, stripe_webhook_secret)
  }
  if (stripe_secret_key !== undefined) await addAccountJob(trx, id)
  return conference
}

function keyColumns(deps: Deps, id: string, key: string, account: string | null): StripeKeyColumns {
  deps.stripeAccounts.assertUsable(key)
  return {
    stripe_secret_key_sealed: sealStripeKey(deps.encryption, id, key),
    stripe_secret_key_last4: key.slice(-4),
    livemode: livemodeOf(key),
    stripe_account: account,
    stripe_key_fingerprint: sha256(key),
    sees_other_conference: false,
  }
}

// A key can be set while Stripe cannot be reached. The job finds out its account later.
const addAccountJob = (trx: Tx, id: string) =>
  addJob(trx, 'learn_stripe_account', { conference_id: id })

type Changes = z.infer<typeof updateConferenceBody>

/** Call it before the values are used. @throws AppError `forbidden` */
export function assertMayChange(caller: Caller, body: Changes): void {
  const foreign = Object.keys(body).find((field) => !STAFF_FIELDS.has(field))
  if (caller.actor.kind !== 'operator' && foreign !== undefined) {
    throw new AppError('forbidden', `Only an operator may change ${foreign}.`)
  }
}

/**
 * Changes settings. Once purchases exist, a new Stripe key must have the same mode and account, because
 * the sessions and payments of the purchases belong to them.
 *
 * @throws AppError `mode_fixed`
 */
export async function changeConference(
  trx: Tx,
  deps: Deps & { hasPurchases: HasPurchases },
  caller: Caller,
  body: Changes,
  account: string | null,
): Promise<Conference> {
  const { stripe_secret_key: key, ...settings } = body
  const changes: ConferenceChanges = definedOnly(settings)
  if (key !== undefined) {
    await assertModeUnchanged(trx, deps.hasPurchases, caller.conferenceId, livemodeOf(key), account)
    Object.assign(changes, keyColumns(deps, caller.conferenceId, key, account))
    if (account === null) await addAccountJob(trx, caller.conferenceId)
    // A job, because this transaction locks the conference and should be short.
    await addJob(trx, 'retry_with_new_key', { conference_id: caller.conferenceId })
  }
  return updateConference(trx, caller.conferenceId, changes)
}

async function assertModeUnchanged(
  trx: Tx,
  hasPurchases: HasPurchases,
  conferenceId: string,
  livemode: boolean,
  account: string | null,
): Promise<void> {
  // A new purchase also locks the conference's row, for its foreign key. So it is either visible
  // below, or created after the new key is set.
  await trx('conferences').where({ id: conferenceId }).forUpdate().first('id')
  const now = await getConference(trx, conferenceId)
  const otherMode = now.livemode !== null && now.livemode !== livemode
  const otherAccount =
    now.stripeAccount !== null && account !== null && now.stripeAccount !== account
  if (!otherMode && !otherAccount) return
  if (!(await hasPurchases(trx, conferenceId))) return
  throw new AppError(
    'mode_fixed',
    otherMode
      ? `This conference has purchases in ${now.livemode ? 'live' : 'test'} mode, but the new key is a ${livemode ? 'live' : 'test'} key. Use a ${now.livemode ? 'live' : 'test'} key.`
      : 'The new key belongs to another Stripe account than the purchases of this conference. Use a key of the same account.',
  )
}

/** With `exactOptionalPropertyTypes`, an absent field differs from one that is undefined. */
function definedOnly<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  // The filter removed only members that are undefined.
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}
