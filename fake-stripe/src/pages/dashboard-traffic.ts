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
  section,
  select,
  sliceArray,
  sliceRows,
  time,
  type View,
} from './dashboard-parts.ts'
import { type Html, html } from './page-layout.ts'

export function eventsSection(state: FakeState, account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(events), view, 'events')
  const shown = new Set(items.map(({ id }) => id))
  const deliveries = byEvent(state.webhooks.list(({ event }) => shown.has(event)))
  const { paused } = state.webhooks
  const flow = paused
    ? commandButton(view, 'resume', 'Resume deliveries')
    : commandButton(view, 'pause', 'Pause deliveries')
  return section(
    {
      id: 'events',
      title: 'Events',
      caption: paused ? 'Deliveries are paused; “Resend” works nevertheless.' : 'Newest first',
      columns: ['Created', 'Type', 'Event', 'Pending', 'Deliveries', 'Actions'],
      view,
      pages,
      after: html`<p>${flow}</p>`,
    },
    items.map((event) => [
      time(event.created),
      code(event.type),
      code(event.id),
      event.pending_webhooks,
      (deliveries.get(event.id) ?? []).map(deliveryCell),
      commandButton(view, 'deliver', 'Resend', { event: event.id }),
    ]),
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
  const outcome = last === undefined ? 'not attempted' : (last.error ?? `HTTP ${last.status}`)
  return html`<div>${badge(delivery.state)} ${delivery.attempts.length}× ${outcome}<br>
<span class="soft">${delivery.url}</span></div>`
}

export function endpointsSection(state: FakeState, account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(webhookEndpoints), view, 'endpoints')
  const form = commandForm(
    view,
    'add-webhook-endpoint',
    'Add endpoint',
    html`<label for="endpoint-url">URL</label> <input id="endpoint-url" name="url" type="url" required size="50">`,
    { account: account.id },
  )
  return section(
    {
      id: 'endpoints',
      title: 'Webhook endpoints',
      caption: 'The API shows a signing secret only once; here it is always shown.',
      columns: ['Endpoint', 'URL', 'Events', 'State', 'Secret', 'Actions'],
      view,
      pages,
      after: html`<p>${form}</p>`,
    },
    items.map((endpoint) => {
      const all = account.rows(endpointSecrets).get(endpoint.id)?.secrets ?? []
      const secrets = activeSecrets(all, state.clock.now())
      return [
        code(endpoint.id),
        endpoint.url,
        endpoint.enabled_events.join(', '),
        badge(endpoint.status),
        html`<details><summary>Show</summary>${secrets.map((secret) => html`<div>${code(secret)}</div>`)}</details>`,
        commandButton(view, 'roll-webhook-secret', 'Roll secret', { endpoint: endpoint.id }),
      ]
    }),
  )
}

/** @param marked `req_…` from an error's `request_log_url`. */
export function requestsSection(
  state: FakeState,
  account: Account,
  view: View,
  marked: string | undefined,
): Html {
  const newest = state.requests.list({ account: account.id }).toReversed()
  const found = state.requests.list().find(({ id }) => id === marked)
  const { items, ...pages } =
    found === undefined
      ? sliceArray(newest, view, 'requests')
      : { items: [found], newer: null, older: null }
  return section(
    {
      id: 'requests',
      title: 'API requests',
      caption: found === undefined ? 'Newest first' : 'The request that was asked for',
      columns: ['Time', 'Request', 'Parameters', 'Idempotency key', 'Status', 'Fault', 'Id'],
      view,
      pages,
    },
    items.map((entry) => [
      entry.at.slice(0, 19).replace('T', ' '),
      code(`${entry.method} ${entry.path}`),
      html`<details><summary>Show</summary>${code(JSON.stringify(entry.params))}</details>`,
      entry.idempotencyKey,
      `${entry.status ?? 'no response'}${entry.replayed ? ' (replayed)' : ''}`,
      entry.fault,
      code(entry.id),
    ]),
  )
}

const API_KINDS = ['rate_limit', 'error', 'hang', 'slow', 'cut', 'fail_after', 'refuse', 'decline']
const WEBHOOK_KINDS = ['duplicate', 'reorder', 'delay', 'drop']

export function faultsSection(state: FakeState, view: View): Html {
  const api = state.faults
    .list()
    .map(({ id, method, path, times, hits, action }) => [
      html`API: ${code(action.kind)}`,
      code(`${method ?? 'any method'} ${path}`),
      `${times} left, ${hits} affected`,
      commandButton(view, 'clear-faults', 'Remove', { id }),
    ])
  const webhooks = state.webhooks.faults
    .list()
    .map(({ id, kind, types, times, hits }) => [
      html`Webhooks: ${code(kind)}`,
      code(types?.join(', ') ?? 'all types'),
      `${times} left, ${hits} affected`,
      commandButton(view, 'clear-faults', 'Remove', { id }),
    ])
  return section(
    {
      id: 'faults',
      title: 'Faults',
      caption: 'Faults that are active now',
      columns: ['Fault', 'Where', 'How often', 'Actions'],
      view,
      after: html`<div class="row"><p>${apiForm(view)}</p><p>${webhookForm(view)}</p></div>`,
    },
    [...api, ...webhooks],
  )
}

function apiForm(view: View): Html {
  return commandForm(
    view,
    'inject-fault',
    'Inject API fault',
    html`${select('action[kind]', 'Kind', API_KINDS)}
${select('method', 'Method', ['POST', 'GET', 'DELETE'])}
<input name="path" aria-label="Path" value="/v1/**">
${field('action[ms]', 'Milliseconds (slow)', { type: 'number' })} ${times('1')}`,
  )
}

function webhookForm(view: View): Html {
  return commandForm(
    view,
    'inject-webhook-fault',
    'Inject webhook fault',
    html`${select('kind', 'Kind', WEBHOOK_KINDS)} ${field('types[0]', 'Event type')}
${field('ms', 'Milliseconds', { type: 'number' })} ${times('always')}`,
  )
}

function times(value: string): Html {
  return html`<label>Times (or “always”) <input class="short" name="times" value="${value}"></label>`
}
