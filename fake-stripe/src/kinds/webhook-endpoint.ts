import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { emptyable, flag, group, list, type ShapeOf, text, url } from '../api/params.ts'
import { changeRow } from '../core/changes.ts'
import { invalidParameter, refused } from '../core/errors.ts'
import { createEndpoint, webhookEndpoints } from '../webhooks/webhook-endpoints.ts'

const MAX_ENDPOINTS = 16

const createParams = group({
  api_version: text().optional(),
  connect: flag().optional(),
  description: emptyable(text({ max: 5000 })).optional(),
  enabled_events: list(text()),
  metadata: metadataParam().optional(),
  url: url(),
} satisfies ShapeOf<Stripe.WebhookEndpointCreateParams>)

const updateParams = group({
  description: emptyable(text({ max: 5000 })).optional(),
  disabled: flag().optional(),
  enabled_events: list(text()).optional(),
  metadata: metadataParam().optional(),
  url: url().optional(),
} satisfies ShapeOf<Stripe.WebhookEndpointUpdateParams>)

const PATH = '/v1/webhook_endpoints'

/** @see https://docs.stripe.com/api/webhook_endpoints */
export const webhookEndpointResource: Resource = {
  kind: webhookEndpoints.name,
  expandable: {},
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: webhookEndpoints.name,
      params: createParams,
      run(call, params) {
        if (call.account.rows(webhookEndpoints).size >= MAX_ENDPOINTS)
          throw refused(`You have reached the maximum of ${MAX_ENDPOINTS} webhook endpoints.`)
        checkUrl(params.url, call.account.livemode)
        const { endpoint, secret } = createEndpoint(call, {
          url: params.url,
          events: wantedEvents(params.enabled_events),
          apiVersion: params.api_version ?? null,
          description: params.description ?? null,
          metadata: changeMetadata({}, params.metadata),
        })
        return { ...endpoint, secret } // no other response shows it
      },
    }),
    retrieveOperation(`${PATH}/:id`, webhookEndpoints, 'webhook_endpoint'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: webhookEndpoints.name,
      params: updateParams,
      run(call, params, { id = '' }) {
        const endpoint = existing(call, webhookEndpoints, id, 'webhook_endpoint', 404)
        if (params.url !== undefined) checkUrl(params.url, call.account.livemode)
        return changeRow(call, webhookEndpoints, id, changes(endpoint, params))
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: webhookEndpoints.name,
      params: group({}),
      run(call, _params, { id = '' }) {
        existing(call, webhookEndpoints, id, 'webhook_endpoint', 404)
        call.account.rows(webhookEndpoints).remove(id)
        return { id, object: 'webhook_endpoint', deleted: true }
      },
    }),
    listOperation({ path: PATH, table: webhookEndpoints, filters: {}, where: () => () => true }),
  ],
}

function changes(
  endpoint: Stripe.WebhookEndpoint,
  params: z.output<typeof updateParams>,
): Partial<Stripe.WebhookEndpoint> {
  const { description, disabled, enabled_events: wanted, metadata, url: address } = params
  return {
    metadata: changeMetadata(endpoint.metadata, metadata),
    ...(description === undefined ? {} : { description }),
    ...(disabled === undefined ? {} : { status: disabled ? 'disabled' : 'enabled' }),
    ...(wanted === undefined ? {} : { enabled_events: wantedEvents(wanted) }),
    ...(address === undefined ? {} : { url: address }),
  }
}

function wantedEvents(names: string[]): string[] {
  const odd = names.find((name) => name !== '*' && !/^[a-z0-9_]+(\.[a-z0-9_]+)+$/.test(name))
  if (odd === undefined && names.length > 0) return names
  throw invalidParameter('enabled_events', `Invalid enabled_events: ${odd ?? 'it is empty'}`)
}

/** In test mode the URL can be http, also for hosts other than this machine. */
function checkUrl(address: string, livemode: boolean): void {
  if (!livemode || address.startsWith('https:')) return
  throw invalidParameter(
    'url',
    'Invalid URL: An HTTPS URL is required in live mode.',
    'url_invalid',
  )
}
