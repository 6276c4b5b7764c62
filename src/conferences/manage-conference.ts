import type { z } from 'zod'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
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
  /**
   * Whether the account of a key has this Checkout session or payment intent. Null when Stripe did not
   * answer or the key may not read it.
   */
  hasObject(stripeKey: string, id: string): Promise<boolean | null>
  /** @throws AppError `validation_failed` for a live key when STRIPE_API_BASE is not Stripe's. */
  assertUsable(stripeKey: string): void
  /** Whether STRIPE_API_BASE is Stripe's: only then its dashboard shows the payments. */
  isStripe: boolean
}

type Deps = { encryption: Encryption; stripeAccounts: StripeAccountPort }

/** Whether the conference has any purchase. Implemented in purchases/. */
export type HasPurchases = (trx: Tx, conferenceId: string) => Promise<boolean>

/** An object at Stripe that a purchase of the conference has, or null. Implemented in purchases/. */
export type FindPaymentObject = (trx: Tx, conferenceId: string) => Promise<string | null>

/** What a change of settings needs from the domains of purchases and payments. */
export type SettingsDeps = Deps & {
  hasPurchases: HasPurchases
  findPaymentObject: FindPaymentObject
}

/** What is known about the account of a new key. */
type KeyAccount = {
  account: string | null
  /** Whether the account has the object that `FindPaymentObject` returns. Null: not known. */
  hasObject: boolean | null
}

// Only the operator may change the other fields.
const STAFF_FIELDS = new Set(['name', 'allowed_origins', 'bank_details'])

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

/** Asks Stripe for the account of a new key. Call it outside of transactions. @param key undefined: no new key. */
export async function findKeyAccount(
  db: Db,
  { stripeAccounts, findPaymentObject }: Pick<SettingsDeps, 'stripeAccounts' | 'findPaymentObject'>,
  conferenceId: string,
  key: string | undefined,
): Promise<KeyAccount> {
  if (key === undefined) return { account: null, hasObject: null }
  const account = await stripeAccounts.accountOf(key)
  const { stored, object } = await withTenant(db, { conferenceId }, async (trx) => ({
    stored: (await getConference(trx, conferenceId)).stripeAccount,
    object: await findPaymentObject(trx, conferenceId),
  }))
  if (object === null || (account !== null && stored !== null)) return { account, hasObject: null }
  return { account, hasObject: await stripeAccounts.hasObject(key, object) }
}

/**
 * Changes settings. Once purchases exist, a new Stripe key must have the same mode and account, because
 * the sessions and payments of the purchases belong to them.
 *
 * @throws AppError `mode_fixed`; `stripe_unavailable` if Stripe did not show to which account the key
 *   belongs.
 */
export async function changeConference(
  trx: Tx,
  deps: SettingsDeps,
  caller: Caller,
  body: Changes,
  keyAccount: KeyAccount,
): Promise<Conference> {
  const { account } = keyAccount
  const { stripe_secret_key: key, ...settings } = body
  const changes: ConferenceChanges = definedOnly(settings)
  if (key !== undefined) {
    await assertModeUnchanged(trx, deps, caller.conferenceId, livemodeOf(key), keyAccount)
    Object.assign(changes, keyColumns(deps, caller.conferenceId, key, account))
    if (account === null) await addAccountJob(trx, caller.conferenceId)
    // A job, because this transaction locks the conference and should be short.
    await addJob(trx, 'retry_with_new_key', { conference_id: caller.conferenceId })
  }
  return updateConference(trx, caller.conferenceId, changes)
}

async function assertModeUnchanged(
  trx: Tx,
  deps: Pick<SettingsDeps, 'hasPurchases' | 'findPaymentObject'>,
  conferenceId: string,
  livemode: boolean,
  { account, hasObject }: KeyAccount,
): Promise<void> {
  // A new purchase also locks the conference's row, for its foreign key. So it is either visible
  // below, or created after the new key is set.
  await trx('conferences').where({ id: conferenceId }).forUpdate().first('id')
  const now = await getConference(trx, conferenceId)
  if (now.livemode === null || !(await deps.hasPurchases(trx, conferenceId))) return
  if (now.livemode !== livemode) {
    throw new AppError(
      'mode_fixed',
      `This conference has purchases in ${now.livemode ? 'live' : 'test'} mode, but the new key is a ${livemode ? 'live' : 'test'} key. Use a ${now.livemode ? 'live' : 'test'} key.`,
    )
  }
  const isSameAccount =
    now.stripeAccount !== null && account !== null ? now.stripeAccount === account : hasObject
  if (isSameAccount === true) return
  if (isSameAccount === false) {
    throw new AppError(
      'mode_fixed',
      'The new key belongs to another Stripe account than the purchases of this conference. Use a key of the same account.',
    )
  }
  // Without an object at Stripe, no purchase lives in the old account.
  if ((await deps.findPaymentObject(trx, conferenceId)) === null) return
  throw new AppError(
    'stripe_unavailable',
    'Stripe did not show to which account the new key belongs, and this conference has purchases. Retry later, or give the key permission to read Checkout sessions and payment intents.',
    { retryAfterSeconds: 5 },
  )
}

/** With `exactOptionalPropertyTypes`, an absent field differs from one that is undefined. */
function definedOnly<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined)
  // The filter removed only members that are undefined.
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> }
}
