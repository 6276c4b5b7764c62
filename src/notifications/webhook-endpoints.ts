import { randomBytes } from 'node:crypto'
import { lockConference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import type { SealedTable } from '../db/sealed-values.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { invalidField, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { OutboundEventType } from './outbound-events.ts'

/** An address to which a conference wants events sent. It does not contain the secret. */
export type WebhookEndpoint = {
  id: string
  url: string
  description: string | null
  /** null: every type. */
  eventTypes: OutboundEventType[] | null
  secretLast4: string
  disabledAt: Date | null
  /** `receiver`: it answered 410 Gone. */
  disabledBy: 'staff' | 'receiver' | null
  createdAt: Date
  updatedAt: Date
}

/** The same limit as in a Stripe account. Each event is stored once per endpoint. */
const MAX_ENDPOINTS = 16

type EndpointRow = {
  id: string
  url: string
  description: string | null
  event_types: OutboundEventType[] | null
  secret_last4: string
  disabled_at: Date | null
  disabled_by: 'staff' | 'receiver' | null
  created_at: Date
  updated_at: Date
}

const COLUMNS = [
  'id',
  'url',
  'description',
  'event_types',
  'secret_last4',
  'disabled_at',
  'disabled_by',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof EndpointRow)[]

/** An endpoint with its new secret, which only this response contains. */
export type EndpointWithSecret = { endpoint: WebhookEndpoint; secret: string }

export type EndpointInput = {
  url: string
  description: string | null
  eventTypes: OutboundEventType[] | null
}

/** @throws AppError `validation_failed` when the conference has the maximum number of endpoints. */
export async function insertEndpoint(
  trx: Tx,
  encryption: Encryption,
  conferenceId: string,
  input: EndpointInput,
): Promise<EndpointWithSecret> {
  // Without the lock, two requests at the same time could both pass the check.
  await lockConference(trx, conferenceId)
  const [known] = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId })
    .count<{ count: number }[]>()
  if (Number(known?.count) >= MAX_ENDPOINTS) {
    throw invalidField(
      '/url',
      `A conference can have at most ${MAX_ENDPOINTS} endpoints. Delete one first.`,
    )
  }
  const id = newId('webhookEndpoint')
  const secret = newSigningSecret()
  const [row] = await trx('webhook_endpoints')
    .insert({
      conference_id: conferenceId,
      id,
      url: input.url,
      description: input.description,
      event_types: input.eventTypes,
      secret_sealed: sealSigningSecret(encryption, conferenceId, id, secret),
      secret_last4: secret.slice(-4),
    })
    .returning<EndpointRow[]>([...COLUMNS])
  if (row === undefined) throw new Error('The insert returned no row')
  return { endpoint: toEndpoint(row), secret }
}

function toEndpoint(row: EndpointRow): WebhookEndpoint {
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types,
    secretLast4: row.secret_last4,
    disabledAt: row.disabled_at,
    disabledBy: row.disabled_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export async function listEndpoints(
  trx: Tx,
  conferenceId: string,
  page: PageQuery,
): Promise<Page<WebhookEndpoint>> {
  const query = trx('webhook_endpoints')
    .where({ conference_id: conferenceId })
    .select([...COLUMNS])
  return mapPage(await fetchPage<EndpointRow>(query, page), toEndpoint)
}

/** @throws AppError `not_found` */
export async function getEndpoint(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<WebhookEndpoint> {
  const row = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId, id })
    .first<EndpointRow | undefined>([...COLUMNS])
  if (row === undefined) throw notFound('webhook endpoint')
  return toEndpoint(row)
}

export type EndpointChanges = {
  [K in keyof EndpointInput]?: EndpointInput[K] | undefined
} & { enabled?: boolean | undefined }

/**
 * Updates the given fields. Pending deliveries go to the new address. Events that occurred while the
 * endpoint was disabled are not delivered later.
 *
 * @throws AppError `not_found`
 */
export async function updateEndpoint(
  trx: Tx,
  conferenceId: string,
  id: string,
  changes: EndpointChanges,
): Promise<WebhookEndpoint> {
  const { url, description, eventTypes, enabled } = changes
  const [row] = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId, id })
    .update({
      ...(url === undefined ? {} : { url }),
      ...(description === undefined ? {} : { description }),
      ...(eventTypes === undefined ? {} : { event_types: eventTypes }),
      ...(enabled === true ? { disabled_at: null, disabled_by: null } : {}),
      ...(enabled === false
        ? {
            disabled_at: trx.raw('coalesce(disabled_at, now())'),
            disabled_by: trx.raw(`coalesce(disabled_by, 'staff')`),
          }
        : {}),
      updated_at: trx.fn.now(),
    })
    .returning<EndpointRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('webhook endpoint')
  return toEndpoint(row)
}

/** Deletes the endpoint and its deliveries. @throws AppError `not_found` */
export async function deleteEndpoint(trx: Tx, conferenceId: string, id: string): Promise<void> {
  const deleted = await trx('webhook_endpoints').where({ conference_id: conferenceId, id }).delete()
  if (deleted === 0) throw notFound('webhook endpoint')
}

/**
 * Replaces the secret. For `overlapSeconds`, deliveries are signed with the old and the new secret, so
 * that a receiver can switch without a gap. Secrets before these two are no longer used.
 *
 * @throws AppError `not_found`
 */
export async function rotateEndpointSecret(
  trx: Tx,
  encryption: Encryption,
  conferenceId: string,
  id: string,
  overlapSeconds: number,
): Promise<EndpointWithSecret> {
  const secret = newSigningSecret()
  const overlaps = overlapSeconds > 0
  const [row] = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId, id })
    .update({
      previous_secret_sealed: overlaps ? trx.ref('secret_sealed') : null,
      previous_secret_until: overlaps
        ? trx.raw('now() + make_interval(secs => ?)', [overlapSeconds])
        : null,
      secret_sealed: sealSigningSecret(encryption, conferenceId, id, secret),
      secret_last4: secret.slice(-4),
      updated_at: trx.fn.now(),
    })
    .returning<EndpointRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('webhook endpoint')
  return { endpoint: toEndpoint(row), secret }
}

const context = (conferenceId: string, endpointId: string) =>
  `webhook_endpoints.secret:${conferenceId}:${endpointId}`

const contextOf = ({ conference_id: conference = '', id = '' }: Record<string, string>) =>
  context(conference, id)

/** The signing secrets of outbound webhooks. */
export const SEALED_ENDPOINT_SECRETS: SealedTable = {
  table: 'webhook_endpoints',
  keys: ['conference_id', 'id'],
  contexts: { secret_sealed: contextOf, previous_secret_sealed: contextOf },
}

// The specification requires 24 to 64 bytes.
const SECRET_BYTES = 32

/** `whsec_` and 32 random bytes in base64, the format of the Standard Webhooks libraries. */
function newSigningSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`
}

function sealSigningSecret(
  encryption: Encryption,
  conferenceId: string,
  endpointId: string,
  secret: string,
): string {
  return encryption.encrypt(secret, context(conferenceId, endpointId))
}

/** Do not log the result or put it into a response. */
export function openSigningSecret(
  encryption: Encryption,
  conferenceId: string,
  endpointId: string,
  sealed: string,
): string {
  return encryption.decrypt(sealed, context(conferenceId, endpointId))
}

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

export const MAX_URL_LENGTH = 2_000

/**
 * The rule that a webhook address breaks, or null. Whether it is in a private network is checked when it
 * is called, because a name may resolve to another address by then.
 *
 * @param allowLoopback allows `http://` and this machine, for development.
 */
export function urlProblem(text: string, allowLoopback: boolean): string | null {
  if (text.length > MAX_URL_LENGTH) return `must have at most ${MAX_URL_LENGTH} characters`
  if (!URL.canParse(text)) return 'must be a URL such as https://example.org/hooks'
  const { protocol, username, password, hash, hostname } = new URL(text)
  const isLoopback = LOOPBACK.has(hostname)
  const isPlain = protocol === 'http:' && isLoopback && allowLoopback
  if (protocol !== 'https:' && !isPlain) return 'must begin with https://'
  if (isLoopback && !allowLoopback) return 'must not point to this machine'
  if (username !== '' || password !== '') return 'must not contain a user name or password'
  if (hash !== '') return 'must not contain a fragment'
  return null
}
