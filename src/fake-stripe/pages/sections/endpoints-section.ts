import type { Account } from '../../core/account.ts'
import type { World } from '../../core/world.ts'
import { activeSecrets, endpointSecrets, webhookEndpoints } from '../../objects/webhook-endpoint.ts'
import { code, commandButton, commandForm, row, section, state } from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

export function endpointsSection(world: World, account: Account): Html {
  const rows = account
    .rows(webhookEndpoints)
    .all()
    .map((endpoint) => {
      const all = account.rows(endpointSecrets).get(endpoint.id)?.secrets ?? []
      const secrets = activeSecrets(all, world.clock.now())
      return row(
        code(endpoint.id),
        endpoint.url,
        endpoint.enabled_events.join(', '),
        state(endpoint.status),
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
