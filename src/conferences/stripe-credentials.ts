import type { Tx } from '../db/connect.ts'
import type { Encryption } from '../shared/encryption.ts'

const keyContext = (conferenceId: string) => `conferences.stripe_secret_key:${conferenceId}`
const secretContext = (conferenceId: string, id: string) =>
  `webhook_secrets.secret:${conferenceId}:${id}`

/** Live or test, as the key itself says: `sk_live_…`, `rk_test_…`. */
export function livemodeOf(stripeKey: string): boolean {
  return /^[sr]k_live_/.test(stripeKey)
}

export function sealStripeKey(encryption: Encryption, conferenceId: string, key: string): string {
  return encryption.encrypt(key, keyContext(conferenceId))
}

/**
 * The conference's Stripe key in the clear, with the account where that is known; null without a
 * key. Never log or answer the key.
 */
export async function readStripeCredentials(
  trx: Tx,
  encryption: Encryption,
  conferenceId: string,
): Promise<{ key: string; account: string | null } | null> {
  const row = await trx('conferences')
    .where({ id: conferenceId })
    .first<{ sealed: string | null; account: string | null } | undefined>(
      'stripe_secret_key_sealed as sealed',
      'stripe_account as account',
    )
  if (!row?.sealed) return null
  return { key: encryption.decrypt(row.sealed, keyContext(conferenceId)), account: row.account }
}

export function sealWebhookSecret(
  encryption: Encryption,
  conferenceId: string,
  id: string,
  secret: string,
): string {
  return encryption.encrypt(secret, secretContext(conferenceId, id))
}

/** Every active webhook secret in the clear: while one is rolled, Stripe signs with two. */
export async function readWebhookSecrets(
  trx: Tx,
  encryption: Encryption,
  conferenceId: string,
): Promise<string[]> {
  const rows = await trx('webhook_secrets')
    .where({ conference_id: conferenceId })
    .orderBy('created_at')
    .select<{ id: string; secret_sealed: string }[]>('id', 'secret_sealed')
  return rows.map((row) =>
    encryption.decrypt(row.secret_sealed, secretContext(conferenceId, row.id)),
  )
}
