import type { Knex } from 'knex'
import type { Db, Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { PREPARED } from '../db/pipeline.ts'
import { withSystem } from '../db/tenant-scope.ts'
import { AppError, notFound } from '../shared/errors.ts'

/** A tenant: its currency, Stripe account and limits. It contains no secret. */
export type Conference = {
  id: string
  slug: string
  name: string
  /** ISO 4217, upper case. It never changes. */
  currency: string
  /** null while there is no Stripe key. */
  livemode: boolean | null
  /** `acct_…`; null until Stripe has answered with it. */
  stripeAccount: string | null
  stripeKeyLast4: string | null
  stripeKeySetAt: Date | null
  /** Maximum number of codes in one purchase or batch. */
  maxQuantity: number
  /** Number of random symbols in a code, without its prefix. */
  codeLength: number
  /** Empty: a checkout may return to any https origin. */
  allowedOrigins: string[]
  /** 1440 is Stripe's default and is not sent. */
  checkoutExpiresAfterMinutes: number
  invoiceCreation: boolean
  taxIdCollection: boolean
  /** What a sponsor needs for a bank transfer. Null: sponsors cannot pay by one. */
  bankDetails: string | null
  createdAt: Date
  updatedAt: Date
}

const COLUMNS = [
  'id',
  'slug',
  'name',
  'currency',
  'livemode',
  'stripe_account',
  'stripe_secret_key_last4',
  'stripe_key_set_at',
  'max_quantity',
  'code_length',
  'allowed_origins',
  'checkout_expires_after_minutes',
  'invoice_creation',
  'tax_id_collection',
  'bank_details',
  'created_at',
  'updated_at',
] as const

export type ConferenceRow = {
  id: string
  slug: string
  name: string
  currency: string
  livemode: boolean | null
  stripe_account: string | null
  stripe_secret_key_last4: string | null
  stripe_key_set_at: Date | null
  max_quantity: number
  code_length: number
  allowed_origins: string[]
  checkout_expires_after_minutes: number
  invoice_creation: boolean
  tax_id_collection: boolean
  bank_details: string | null
  created_at: Date
  updated_at: Date
}

/** The columns of a Stripe key, which change together. */
export type StripeKeyColumns = {
  stripe_secret_key_sealed: string
  stripe_secret_key_last4: string
  livemode: boolean
  stripe_account: string | null
  stripe_key_fingerprint: string
  sees_other_conference: boolean
}

export type ConferenceChanges = Partial<
  Omit<ConferenceRow, 'id' | 'slug' | 'currency' | 'created_at' | 'updated_at'> & StripeKeyColumns
>

export function toConference(row: ConferenceRow): Conference {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    currency: row.currency,
    livemode: row.livemode,
    stripeAccount: row.stripe_account,
    stripeKeyLast4: row.stripe_secret_key_last4,
    stripeKeySetAt: row.stripe_key_set_at,
    maxQuantity: row.max_quantity,
    codeLength: row.code_length,
    allowedOrigins: row.allowed_origins,
    checkoutExpiresAfterMinutes: row.checkout_expires_after_minutes,
    invoiceCreation: row.invoice_creation,
    taxIdCollection: row.tax_id_collection,
    bankDetails: row.bank_details,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

/** @throws AppError `already_exists` when the slug is taken. */
export async function insertConference(
  trx: Tx,
  row: { id: string; slug: string; name: string; currency: string } & ConferenceChanges,
): Promise<Conference> {
  try {
    const [inserted] = await trx('conferences')
      .insert({
        ...row,
        ...(row.stripe_secret_key_sealed ? { stripe_key_set_at: trx.fn.now() } : {}),
      })
      .returning<ConferenceRow[]>([...COLUMNS])
    if (inserted === undefined) throw new Error('The insert returned no row')
    return toConference(inserted)
  } catch (error) {
    if (isUniqueViolation(error, 'conferences_slug_key')) {
      throw new AppError('already_exists', `The slug "${row.slug}" is already taken.`, {
        errors: [{ pointer: '/slug', detail: 'is taken' }],
      })
    }
    throw error
  }
}

/** The conference by its id. @throws AppError `not_found` */
export async function getConference(trx: Tx, id: string): Promise<Conference> {
  const row = await trx<ConferenceRow>('conferences')
    .where({ id })
    .options(PREPARED)
    .first([...COLUMNS])
  if (row === undefined) throw notFound('conference')
  return toConference(row)
}

/** A query for how many random symbols the codes of the conference have, for use as a value. */
export function codeLengthOf(trx: Tx, id: string): Knex.QueryBuilder {
  return trx('conferences').where({ id }).select('code_length')
}

/** The id of the conference with this slug or id, or null. */
export async function findConferenceId(trx: Tx, slugOrId: string): Promise<string | null> {
  const row = await trx('conferences')
    .where({ id: slugOrId })
    .orWhere({ slug: slugOrId })
    .first<{ id: string } | undefined>('id')
  return row?.id ?? null
}

/**
 * A function that returns the id of the conference with a slug or id, or null. It remembers the ids that
 * it found, because a conference is never deleted and keeps its slug.
 */
export function createConferenceLookup(db: Db): (slugOrId: string) => Promise<string | null> {
  const ids = new Map<string, string>()
  return async (slugOrId) => {
    const known = ids.get(slugOrId)
    if (known !== undefined) return known
    const id = await withSystem(db, 'resolve-conference', (trx) => findConferenceId(trx, slugOrId))
    if (id !== null) ids.set(slugOrId, id)
    return id
  }
}

export function listConferences(trx: Tx, page: PageQuery): Promise<Page<ConferenceRow>> {
  return fetchPage(trx('conferences').select([...COLUMNS]), page)
}

/** The ids of all conferences, in a system task that may read them. */
export function listConferenceIds(trx: Tx): Promise<string[]> {
  return trx('conferences').pluck<string[]>('id')
}

/** What people call a conference, and what its amounts are in. */
export type ConferenceName = Pick<Conference, 'id' | 'slug' | 'name' | 'currency' | 'livemode'>

/** Conferences by their ids, for the work of several tenants. */
export async function findConferenceNames(
  trx: Tx,
  ids: readonly string[],
): Promise<Map<string, ConferenceName>> {
  const rows = await trx('conferences')
    .whereIn('id', ids)
    .select<ConferenceName[]>('id', 'slug', 'name', 'currency', 'livemode')
  return new Map(rows.map((row) => [row.id, row]))
}

/** @throws AppError `not_found` */
export async function updateConference(
  trx: Tx,
  id: string,
  changes: ConferenceChanges,
): Promise<Conference> {
  const [row] = await trx('conferences')
    .where({ id })
    .update({
      ...changes,
      ...(changes.stripe_secret_key_sealed
        ? {
            stripe_key_set_at: trx.fn.now(),
            stripe_key_rejected_since: null,
            stripe_key_rejected_at: null,
          }
        : {}),
      updated_at: trx.fn.now(),
    })
    .returning<ConferenceRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('conference')
  return toConference(row)
}

/**
 * Saves the Stripe account of the conference's key, unless one is saved already or the key was replaced
 * since `keySetAt`: a new key may belong to another account.
 */
export async function saveStripeAccount(
  trx: Tx,
  id: string,
  account: string,
  keySetAt: Date | null,
): Promise<void> {
  await trx('conferences')
    .where({ id, stripe_account: null })
    // A Date has no microseconds.
    .whereRaw(`date_trunc('milliseconds', stripe_key_set_at) = ?`, [keySetAt])
    .update({ stripe_account: account, updated_at: trx.fn.now() })
}

/** The ids of all conferences that have a Stripe key. */
export async function conferencesWithStripeKey(trx: Tx): Promise<string[]> {
  const rows = await trx('conferences')
    .whereNotNull('stripe_secret_key_sealed')
    .select<{ id: string }[]>('id')
  return rows.map(({ id }) => id)
}

/** The slug of one conference with a live Stripe key, or null when there is none. */
export async function findLiveConference(trx: Tx): Promise<string | null> {
  const row = await trx('conferences')
    .where({ livemode: true })
    .first<{ slug: string } | undefined>('slug')
  return row?.slug ?? null
}

/** Locks the row, so that transactions which count rows of the conference run one after the other. */
export async function lockConference(trx: Tx, id: string): Promise<void> {
  await trx('conferences').where({ id }).forNoKeyUpdate().first('id')
}
