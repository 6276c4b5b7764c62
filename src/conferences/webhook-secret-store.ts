import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../http/pages.ts'
import type { Encryption } from '../shared/encryption.ts'
import { notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { sealWebhookSecret } from './stripe-credentials.ts'

export type WebhookSecretRow = { id: string; last4: string; created_at: Date }

const COLUMNS = ['id', 'last4', 'created_at'] as const

/** Adds a signing secret. Several are active at once, so that one can be rolled without a gap. */
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
    .returning<WebhookSecretRow[]>([...COLUMNS])
  if (row === undefined) throw new Error('The insert returned no row')
  return row
}

export function listWebhookSecrets(
  trx: Tx,
  conferenceId: string,
  page: PageQuery,
): Promise<Page<WebhookSecretRow>> {
  const query = trx('webhook_secrets').where({ conference_id: conferenceId })
  return fetchPage(query.select([...COLUMNS]), page)
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
