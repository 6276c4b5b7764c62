import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { Principal, Scope } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { ID_PREFIXES } from '../shared/ids.ts'

export const KEY_ROLES = ['operator', 'staff', 'sponsor'] as const

export type KeyRole = (typeof KEY_ROLES)[number]

/** An API key without its secret. The service stores only a hash of the secret. */
export type ApiKey = {
  id: string
  /** null for an operator key, which belongs to no conference. */
  conferenceId: string | null
  role: KeyRole
  sponsorId: string | null
  scopes: Scope[]
  name: string
  last4: string
  expiresAt: Date | null
  revokedAt: Date | null
  /** The key that replaces this one. This one ends at `expiresAt`. */
  rotatedTo: string | null
  lastUsedAt: Date | null
  createdAt: Date
}

/** A new key with its text, which only the response of its creation contains. */
export type IssuedKey = { apiKey: ApiKey; text: string }

const TEXT = new RegExp(`^sv_(${KEY_ROLES.join('|')})_([0-9A-Za-z]{21})_([0-9A-Za-z]{40})$`)

/**
 * `sv_<role>_<body of the id>_<secret>`: the id finds the row, the role tells people what kind of key it
 * is, and the prefix lets secret scanners recognise it.
 */
export function formatKey(role: KeyRole, id: string, secret: string): string {
  return `sv_${role}_${id.slice(ID_PREFIXES.apiKey.length + 1)}_${secret}`
}

/** The parts of a key's text, or null when it has another format. */
export function parseKey(text: string): { role: string; id: string; secret: string } | null {
  const [, role, body, secret] = TEXT.exec(text) ?? []
  if (role === undefined || body === undefined || secret === undefined) return null
  return { role, id: `${ID_PREFIXES.apiKey}_${body}`, secret }
}

const COLUMNS = [
  'id',
  'conference_id',
  'role',
  'sponsor_id',
  'scopes',
  'name',
  'last4',
  'expires_at',
  'revoked_at',
  'rotated_to',
  'last_used_at',
  'created_at',
] as const

export type KeyRow = {
  id: string
  conference_id: string | null
  role: KeyRole
  sponsor_id: string | null
  scopes: Scope[]
  name: string
  last4: string
  expires_at: Date | null
  revoked_at: Date | null
  rotated_to: string | null
  last_used_at: Date | null
  created_at: Date
}

/** What a key or a user may do, by its row; null for a row that breaks the constraints of its table. */
export function toPrincipal(
  id: string,
  row: Pick<KeyRow, 'role' | 'conference_id' | 'sponsor_id' | 'scopes'>,
): Principal | null {
  if (row.role === 'operator') return { role: 'operator', id }
  const { conference_id: conferenceId, sponsor_id: sponsorId } = row
  if (conferenceId === null) return null
  if (row.role === 'staff') return { role: 'staff', id, conferenceId, scopes: row.scopes }
  return sponsorId === null ? null : { role: 'sponsor', id, conferenceId, sponsorId }
}

export type NewKeyRow = Pick<
  KeyRow,
  'id' | 'conference_id' | 'role' | 'sponsor_id' | 'scopes' | 'name' | 'last4' | 'expires_at'
> & { secret_hash: string; created_by: string }

export function toApiKey(row: KeyRow): ApiKey {
  return {
    id: row.id,
    conferenceId: row.conference_id,
    role: row.role,
    sponsorId: row.sponsor_id,
    scopes: row.scopes,
    name: row.name,
    last4: row.last4,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    rotatedTo: row.rotated_to,
    lastUsedAt: row.last_used_at,
    createdAt: row.created_at,
  }
}

export async function insertKey(trx: Tx, key: NewKeyRow): Promise<ApiKey> {
  const [row] = await trx('api_keys')
    .insert(key)
    .returning<KeyRow[]>([...COLUMNS])
  if (row === undefined) throw new Error('The insert returned no row')
  return toApiKey(row)
}

/** The keys of a conference; with null, the operator keys. */
export function listKeys(
  trx: Tx,
  conferenceId: string | null,
  page: PageQuery,
): Promise<Page<KeyRow>> {
  const query = trx('api_keys').where({ conference_id: conferenceId })
  return fetchPage(query.select([...COLUMNS]), page)
}

/**
 * The key under a row lock, and whether it has expired by the database's clock.
 *
 * @throws AppError `not_found`
 */
export async function lockKey(
  trx: Tx,
  conferenceId: string | null,
  id: string,
): Promise<{ apiKey: ApiKey; expired: boolean }> {
  const row = await trx('api_keys')
    .where({ conference_id: conferenceId, id })
    .forUpdate()
    .first<(KeyRow & { expired: boolean }) | undefined>([
      ...COLUMNS,
      trx.raw('coalesce(expires_at <= now(), false) as expired'),
    ])
  if (row === undefined) throw notFound('API key')
  return { apiKey: toApiKey(row), expired: row.expired }
}

/** Sets the successor of the key, and lets the key expire in `seconds` unless it expires earlier. */
export async function markRotated(
  trx: Tx,
  id: string,
  successor: string,
  seconds: number,
): Promise<void> {
  await trx('api_keys')
    .where({ id })
    .update({
      rotated_to: successor,
      expires_at: trx.raw(`least(expires_at, now() + make_interval(secs => ?))`, [seconds]),
    })
}

/** Revokes the key immediately. A repeat is a no-op. @throws AppError `not_found` */
export async function revokeKey(trx: Tx, conferenceId: string | null, id: string): Promise<void> {
  const changed = await trx('api_keys')
    .where({ conference_id: conferenceId, id })
    .update({ revoked_at: trx.raw('coalesce(revoked_at, now())') })
  if (changed === 0) throw notFound('API key')
}

/** Whether the time is in the future by the database's clock. */
export async function isFuture(trx: Tx, at: Date): Promise<boolean> {
  const { rows } = await trx.raw<{ rows: { future: boolean }[] }>(
    'select ?::timestamptz > now() as future',
    [at],
  )
  return rows[0]?.future === true
}
