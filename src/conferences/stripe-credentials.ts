import type { Db, Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import type { SealedTable } from '../db/sealed-values.ts'
import { type Bind, systemStatement, tenantStatement, withSystem } from '../db/tenant-scope.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { notFound, StartupError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { inGroups } from '../shared/in-groups.ts'

const keyContext = (conferenceId: string) => `conferences.stripe_secret_key:${conferenceId}`
const secretContext = (conferenceId: string, id: string) =>
  `webhook_secrets.secret:${conferenceId}:${id}`

/** Whether the key is a live key, by its prefix: `sk_live_…`, `rk_test_…`. */
export function livemodeOf(stripeKey: string): boolean {
  return /^[sr]k_live_/.test(stripeKey)
}

export function sealStripeKey(encryption: Encryption, conferenceId: string, key: string): string {
  return encryption.encrypt(key, keyContext(conferenceId))
}

/**
 * The decrypted Stripe key of the conference, and its account if known. Null without a key. Do not log
 * the key or put it into a response.
 */
export async function readStripeCredentials(
  db: Db,
  encryption: Encryption,
  conferenceId: string,
): Promise<{ key: string; account: string | null } | null> {
  const [row] = await tenantStatement<{ sealed: string | null; account: string | null }>(
    db,
    { conferenceId },
    (bind) => `select stripe_secret_key_sealed as sealed, stripe_account as account
     from conferences where id = ${bind(conferenceId)}`,
  )
  if (!row?.sealed) return null
  return { key: encryption.decrypt(row.sealed, keyContext(conferenceId)), account: row.account }
}

/** The encrypted values of conferences. */
export const SEALED_CREDENTIALS: readonly SealedTable[] = [
  {
    table: 'conferences',
    keys: ['id'],
    contexts: { stripe_secret_key_sealed: ({ id = '' }) => keyContext(id) },
  },
  {
    table: 'webhook_secrets',
    keys: ['conference_id', 'id'],
    contexts: {
      secret_sealed: ({ conference_id: conference = '', id = '' }) => secretContext(conference, id),
    },
  },
]

const CHECK = { value: 'sponsor-vouchers', context: 'encryption_check.value' }

/** The value by which a process knows its key. It is encrypted again when everything else is. */
export const SEALED_CHECK: SealedTable = {
  table: 'encryption_check',
  keys: ['only_row'],
  contexts: { value_sealed: () => CHECK.context },
}

/**
 * Checks the encryption key against one encrypted value in the database. The first start with an
 * encryption key stores that value; in an older database, a Stripe key must be readable first.
 *
 * @throws StartupError that names ENCRYPTION_KEY.
 */
export async function assertEncryptionKey(db: Db, encryption: Encryption): Promise<void> {
  const isReadable = await withSystem(db, 'manage-conferences', async (trx) => {
    const found = await findSealedValue(trx)
    if (found !== null) return canDecrypt(encryption, found)
    const stripeKey = await findSealedStripeKey(trx)
    if (stripeKey !== null && !canDecrypt(encryption, stripeKey)) return false
    const sealed = encryption.encrypt(CHECK.value, CHECK.context)
    await trx('encryption_check').insert({ value_sealed: sealed }).onConflict().ignore()
    // Another process may have stored its value first.
    const stored = await findSealedValue(trx)
    return stored !== null && canDecrypt(encryption, stored)
  })
  if (isReadable) return
  throw new StartupError(
    'ENCRYPTION_KEY is not the key with which this database was encrypted: its Stripe keys and webhook secrets cannot be decrypted. Set the key that was used before.',
  )
}

type SealedValue = { sealed: string; context: string }

async function findSealedValue(trx: Tx): Promise<SealedValue | null> {
  const row = await trx('encryption_check').first<{ value_sealed: string } | undefined>()
  return row === undefined ? null : { sealed: row.value_sealed, context: CHECK.context }
}

async function findSealedStripeKey(trx: Tx): Promise<SealedValue | null> {
  const row = await trx('conferences')
    .whereNotNull('stripe_secret_key_sealed')
    .first<{ id: string; sealed: string } | undefined>('id', 'stripe_secret_key_sealed as sealed')
  return row === undefined ? null : { sealed: row.sealed, context: keyContext(row.id) }
}

function canDecrypt(encryption: Encryption, { sealed, context }: SealedValue): boolean {
  try {
    encryption.decrypt(sealed, context)
    return true
  } catch {
    return false
  }
}

/** What a webhook of Stripe is checked against. */
export type WebhookReceiver = {
  id: string
  slug: string
  livemode: boolean | null
  stripeAccount: string | null
  /** Every active signing secret, decrypted. Stripe signs with two while one is rolled. */
  secrets: WebhookSecret[]
}

type WebhookSecret = { id: string; value: string }

/**
 * The conferences with these slugs or ids, in their order, null for unknown ones. Do not log the secrets
 * or put them into a response.
 */
export async function readWebhookReceivers(
  db: Db,
  encryption: Encryption,
  slugsOrIds: readonly string[],
): Promise<(WebhookReceiver | null)[]> {
  const distinct = [...new Set(slugsOrIds)]
  const rows = await systemStatement<ReceiverRow>(
    db,
    'resolve-conference',
    (bind) => `select c.id, c.slug, c.livemode, c.stripe_account as account,
      (select coalesce(json_agg(json_build_object('id', s.id, 'sealed', s.secret_sealed)
          order by s.created_at), '[]')
        from webhook_secrets s where s.conference_id = c.id) as secrets
      from conferences c where c.id = any(${bind(distinct)}) or c.slug = any(${bind(distinct)})`,
  )
  const found = new Map<string, WebhookReceiver>()
  for (const { id, slug, livemode, account, secrets } of rows) {
    const receiver = {
      id,
      slug,
      livemode,
      stripeAccount: account,
      secrets: secrets.map((secret) => ({
        id: secret.id,
        value: encryption.decrypt(secret.sealed, secretContext(id, secret.id)),
      })),
    }
    found.set(id, receiver).set(slug, receiver)
  }
  return slugsOrIds.map((name) => found.get(name) ?? null)
}

type ReceiverRow = {
  id: string
  slug: string
  livemode: boolean | null
  account: string | null
  secrets: { id: string; sealed: string }[]
}

type WebhookReceivers = {
  /** The conference as this process read it last. What is accepted by it needs `outdatedVerifications`. */
  remembered(slugOrId: string): WebhookReceiver | undefined
  /** Webhooks that arrive together share a read, which begins after all of them. */
  read(slugOrId: string): Promise<WebhookReceiver | null>
}

/** The conferences of webhooks by slug or id. At most `max` are remembered, and no unknown name. */
export function createWebhookReceivers(
  deps: { db: Db; encryption: Encryption },
  max = 1_000,
): WebhookReceivers {
  const remembered = new Map<string, WebhookReceiver>()
  const read = inGroups<string, WebhookReceiver | null>({
    run: (names) => readWebhookReceivers(deps.db, deps.encryption, names),
    inFlight: 2,
    // A secret that cannot be decrypted concerns one conference only.
    splits: (error) => !isDatabaseUnavailable(error),
  })
  return {
    remembered: (name) => remembered.get(name),
    async read(name) {
      const receiver = await read(name)
      remembered.delete(name)
      if (receiver === null) return null
      remembered.set(name, receiver)
      const [first = name] = remembered.keys()
      if (remembered.size > max) remembered.delete(first)
      return receiver
    },
  }
}

/** What a webhook was accepted by: a secret, and the conference as it was when it was read. */
export type Verification = { receiver: WebhookReceiver; secret: WebhookSecret }

/**
 * SQL for the numbers, from 1, of the verifications that no longer hold: the secret was deleted, or the
 * conference changed in a way that matters to its webhooks.
 */
export function outdatedVerifications(bind: Bind, verifications: readonly Verification[]): string {
  const list = verifications.map(({ receiver, secret }, index) => {
    const { id, slug, livemode, stripeAccount: account } = receiver
    return { number: index + 1, id, slug, livemode, account, secret: secret.id }
  })
  // A sub-select as a value: Postgres looks up each row by its keys, however many it expects.
  return `
    select seen.number
    from json_to_recordset(${bind(JSON.stringify(list))}::json) as seen
      (number integer, id text, slug text, livemode boolean, account text, secret text)
    where (
      select (c.slug, c.livemode, c.stripe_account)
        is not distinct from (seen.slug, seen.livemode, seen.account)
      from conferences c join webhook_secrets s on s.conference_id = c.id
      where c.id = seen.id and s.id = seen.secret
    ) is not true`
}

export type WebhookSecretRow = { id: string; last4: string; created_at: Date }

const SECRET_COLUMNS = ['id', 'last4', 'created_at'] as const

/** Adds a signing secret. Several can be active, so that one can be rolled without a gap. */
export async function addWebhookSecret(
  trx: Tx,
  encryption: Encryption,
  conferenceId: string,
  secret: string,
): Promise<WebhookSecretRow> {
  const id = newId('webhookSecret')
  const [row] = await trx('webhook_secrets')
    .insert({
      conference_id: conferenceId,
      id,
      secret_sealed: sealWebhookSecret(encryption, conferenceId, id, secret),
      last4: secret.slice(-4),
    })
    .returning<WebhookSecretRow[]>([...SECRET_COLUMNS])
  if (row === undefined) throw new Error('The insert returned no row')
  return row
}

function sealWebhookSecret(
  encryption: Encryption,
  conferenceId: string,
  id: string,
  secret: string,
): string {
  return encryption.encrypt(secret, secretContext(conferenceId, id))
}

export function listWebhookSecrets(
  trx: Tx,
  conferenceId: string,
  page: PageQuery,
): Promise<Page<WebhookSecretRow>> {
  const query = trx('webhook_secrets').where({ conference_id: conferenceId })
  return fetchPage(query.select([...SECRET_COLUMNS]), page)
}

/** @throws AppError `not_found` */
export async function deleteWebhookSecret(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<void> {
  const deleted = await trx('webhook_secrets').where({ conference_id: conferenceId, id }).delete()
  if (deleted === 0) throw notFound('webhook secret')
}
