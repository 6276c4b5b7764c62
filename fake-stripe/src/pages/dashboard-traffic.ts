import type { Account } from '../core/accounts.ts'
import { events } from '../core/changes.ts'
import type { FakeState } from '../fake-state.ts'
import type { Delivery } from '../webhooks/webhook-dispatcher.ts'
import { activeSecrets, endpointSecrets, webhookEndpoints } from '../webhooks/webhook-endpoints.ts'
import {
  badge,
  code,
  commandButton,
  commandForm,
  field,
  row,
  SHOWN_ROWS,
  section,
  select,
  time,
} from './dashboard-parts.ts'
import { type Html, html } from './page-layout.ts'

export function eventsSection(state: FakeState, account: Account): Html {
  const newest = account.rows(events).page({ limit: SHOWN_ROWS })?.data ?? []
  const deliveries = byEvent(state.webhooks.list(({ account: owner }) => owner === account.id))
  const rows = newest.map((event) =>
    row(
      time(event.created),
      code(event.type),
      code(event.id),
      event.pending_webhooks,
      (deliveries.get(event.id) ?? []).map(deliveryCell),
      commandButton(account.id, 'deliver', 'Resend', { event: event.id }),
    ),
  )
  const flow = state.webhooks.paused
    ? commandButton(account.id, 'resume', 'Resume deliveries')
    : commandButton(account.id, 'pause', 'Pause deliveries')
  return section(
    'events',
    'Events',
    state.webhooks.paused ? 'Deliveries are paused; Resend still sends.' : 'Newest first',
    ['Created', 'Type', 'Event', 'Pending', 'Deliveries', 'Do'],
    rows,
    html`<p>${flow}</p>`,
  )
}

function byEvent(deliveries: readonly Delivery[]): Map<string, Delivery[]> {
  const groups = new Map<string, Delivery[]>()
  for (const delivery of deliveries)
    groups.set(delivery.event, [...(groups.get(delivery.event) ?? []), delivery])
  return groups
}

function deliveryCell(delivery: Delivery): Html {
  const last = delivery.attempts.at(-1)
  const outcome = last === undefined ? 'not tried' : (last.error ?? `HTTP ${last.status}`)
  return html`<div>${badge(delivery.state)} ${delivery.attempts.length}× ${outcome}<br>
<span class="soft">${delivery.url}</span></div>`
}

export function endpointsSection(state: FakeState, account: Account): Html {
  const rows = account
    .rows(webhookEndpoints)
    .all()
    .map((endpoint) => {
      const all = account.rows(endpointSecrets).get(endpoint.id)?.secrets ?? []
      const secrets = activeSecrets(all, state.clock.now())
      return row(
        code(endpoint.id),
        endpoint.url,
        endpoint.enabled_events.join(', '),
        badge(endpoint.status),
        html`<details><summary>Show</summary>${secrets.map((secret) => html`<div>${code(secret)}</div>`)}</details>`,
        commandButton(account.id, 'roll-webhook-secret', 'Roll secret', { endpoint: endpoint.id }),
      )
    })
  const form = commandForm(
    account.id,
    'add-webhook-endpoint',
    'Add endpoint',
    html`<label for="endpoint-url">URL</label> <input id="endpoint-url" name="url" type="url" required size="50">`,
    { account: account.id },
  )
  return section(
    'endpoints',
    'Webhook endpoints',
    'The signing secret is shown here for convenience; the API shows it once.',
    ['Endpoint', 'URL', 'Events', 'State', 'Secret', 'Do'],
    rows,
    html`<p>${form}</p>`,
  )
}

/** @param marked `req_…` from an error's `request_log_url`. */
export function requestsSection(
  state: FakeState,
  account: Account,
  marked: string | undefined,
): Html {
  const newest = state.requests.list({ account: account.id }).slice(-SHOWN_ROWS).reverse()
  const found = state.requests.list().find(({ id }) => id === marked)
  const entries = found === undefined ? newest : [found]
  const rows = entries.map((entry) =>
    row(
      entry.at.slice(0, 19).replace('T', ' '),
      code(`${entry.method} ${entry.path}`),
      html`<details><summary>Parameters</summary>${code(JSON.stringify(entry.params))}</details>`,
      entry.idempotencyKey,
      `${entry.status ?? 'no answer'}${entry.replayed ? ' (replayed)' : ''}`,
      entry.fault,
      code(entry.id),
    ),
  )
  return section(
    'requests',
    'API requests',
    found === undefined ? 'Newest first' : 'The request that was asked for',
    ['At', 'Request', 'Parameters', 'Idempotency key', 'Status', 'Trouble', 'Id'],
    rows,
  )
}

const API_KINDS = ['rate_limit', 'error', 'hang', 'slow', 'cut', 'fail_after', 'decline']
const WEBHOOK_KINDS = ['duplicate', 'reorder', 'delay', 'drop']

export function faultsSection(state: FakeState, account: string): Html {
  const api = state.faults
    .list()
    .map(({ id, method, path, times, hits, action }) =>
      row(
        html`API: ${code(action.kind)}`,
        code(`${method ?? 'any'} ${path}`),
        `${times} left, ${hits} spoilt`,
        commandButton(account, 'clear-faults', 'Take back', { id }),
      ),
    )
  const webhooks = state.webhooks.faults
    .list()
    .map(({ id, kind, types, times, hits }) =>
      row(
        html`Webhooks: ${code(kind)}`,
        code(types?.join(', ') ?? 'all types'),
        `${times} left, ${hits} spoilt`,
        commandButton(account, 'clear-faults', 'Take back', { id }),
      ),
    )
  return section(
    'faults',
    'Trouble switches',
    'What is set at the moment',
    ['Switch', 'Where', 'How often', 'Do'],
    [...api, ...webhooks],
    html`<div class="row"><p>${apiForm(account)}</p><p>${webhookForm(account)}</p></div>`,
  )
}

function apiForm(account: string): Html {
  return commandForm(
    account,
    'inject-fault',
    'Spoil API calls',
    html`${select('action[kind]', 'Kind', API_KINDS)}
${select('method', 'Method', ['POST', 'GET', 'DELETE'])}
<input name="path" aria-label="Path" value="/v1/**">
${field('action[ms]', 'Milliseconds (slow)', { type: 'number' })} ${times('1')}`,
  )
}

function webhookForm(account: string): Html {
  return commandForm(
    account,
    'inject-webhook-fault',
    'Spoil webhooks',
    html`${select('kind', 'Kind', WEBHOOK_KINDS)} ${field('types[0]', 'Event type')}
${field('ms', 'Milliseconds', { type: 'number' })} ${times('always')}`,
  )
}

function times(value: string): Html {
  return html`<label>Times (or “always”) <input class="short" name="times" value="${value}"></label>`
}
