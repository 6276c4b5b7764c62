import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Caller } from '../shared/caller.ts'
import type { Encryption } from '../shared/cryptography.ts'
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

/** Asks Stripe whose key it is. Implemented in stripe/; kept out of every transaction. */
export type StripeAccountPort = {
  /** `acct_…`, or null without a key, or when Stripe did not say (down, or a restricted key). */
  accountOf(stripeKey: string | undefined): Promise<string | null>
  /** @throws AppError `validation_failed` for a live key while a stand-in takes Stripe's place. */
  assertUsable(stripeKey: string): void
}

type Deps = { encryption: Encryption; stripeAccounts: StripeAccountPort }

// What staff may change; the rest is the platform's.
const STAFF_FIELDS = new Set(['name', 'allowed_origins'])

function keyColumns(deps: Deps, id: string, key: string, account: string | null): StripeKeyColumns {
  deps.stripeAccounts.assertUsable(key)
  return {
    stripe_secret_key_sealed: sealStripeKey(deps.encryption, id, key),
    stripe_secret_key_last4: key.slice(-4),
    livemode: livemodeOf(key),
    stripe_account: account,
  }
}

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

// Stripe need not be up for a key to be set; whose account it opens is learnt as soon as it answers.
const addAccountJob = (trx: Tx, id: string) =>
  addJob(trx, 'learn_stripe_account', { conference_id: id })

type Changes = z.infer<typeof updateConferenceBody>

/** Before anything is done with the values. @throws AppError `forbidden` */
export function assertMayChange(caller: Caller, body: Changes): void {
  const foreign = Object.keys(body).find((field) => !STAFF_FIELDS.has(field))
  if (caller.actor.kind !== 'operator' && foreign !== undefined) {
    throw new AppError('forbidden', `Only the operator may change ${foreign}.`)
  }
}

/**
 * Changes settings that the caller may change. With a new Stripe key, mode and account must stay once purchases exist: their
 * sessions and payments live in the old ones.
 *
 * @throws AppError `mode_fixed`
 */
export async function changeConference(
  trx: Tx,
  deps: Deps,
  caller: Caller,
  body: Changes,
  account: string | null,
): Promise<Conference> {
  const { stripe_secret_key: key, ...settings } = body
  const changes: ConferenceChanges = definedOnly(settings)
  if (key !== undefined) {
    await assertModeUnchanged(trx, caller.conferenceId, livemodeOf(key), account)
    Object.assign(changes, keyColumns(deps, caller.conferenceId, key, account))
    if (account === null) await addAccountJob(trx, caller.conferenceId)
  }
  return updateConference(trx, caller.conferenceId, changes)
}

async function assertModeUnchanged(
  trx: Tx,
  conferenceId: string,
  livemode: boolean,
  account: string | null,
): Promise<void> {
  // A new purchase locks the conference's row too, for its foreign key: it is either seen below, or
  // made when the new key is in place.
  await trx('conferences').where({ id: conferenceId }).forUpdate().first('id')
  const now = await getConference(trx, conferenceId)
  const otherMode = now.livemode !== null && now.livemode !== livemode
  const otherAccount =
    now.stripeAccount !== null && account !== null && now.stripeAccount !== account
  if (!otherMode && !otherAccount) return
  const purchase = await trx('bulk_purchases').where({ conference_id: conferenceId }).first('id')
  if (purchase === undefined) return
  throw new AppError(
    'mode_fixed',
    otherMode
      ? `This conference has purchases in ${now.livemode ? 'live' : 'test'} mode; the key is of the other mode.`
      : 'This conference has purchases in another Stripe account.',
  )
}

/** `exactOptionalPropertyTypes`: an absent field and one set to undefined are not the same. */
function definedOnly<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  // Only members that are undefined were taken away.
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}
