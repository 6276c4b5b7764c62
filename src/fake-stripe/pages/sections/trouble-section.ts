import type { World } from '../../core/world.ts'
import {
  code,
  commandButton,
  commandForm,
  field,
  row,
  section,
  select,
} from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

const API_KINDS = ['rate_limit', 'error', 'hang', 'slow', 'cut', 'fail_after', 'decline']
const WEBHOOK_KINDS = ['duplicate', 'reorder', 'delay', 'drop']

export function troubleSection(world: World, account: string): Html {
  const api = world.troubles
    .list()
    .map(({ id, method, path, times, hits, action }) =>
      row(
        html`API: ${code(action.kind)}`,
        code(`${method ?? 'any'} ${path}`),
        `${times} left, ${hits} spoilt`,
        commandButton(account, 'clear-trouble', 'Take back', { id }),
      ),
    )
  const webhooks = world.webhooks.troubles
    .list()
    .map(({ id, kind, types, times, hits }) =>
      row(
        html`Webhooks: ${code(kind)}`,
        code(types?.join(', ') ?? 'all types'),
        `${times} left, ${hits} spoilt`,
        commandButton(account, 'clear-trouble', 'Take back', { id }),
      ),
    )
  return section(
    'trouble',
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
    'trouble',
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
    'webhook-trouble',
    'Spoil webhooks',
    html`${select('kind', 'Kind', WEBHOOK_KINDS)} ${field('types[0]', 'Event type')}
${field('ms', 'Milliseconds', { type: 'number' })} ${times('always')}`,
  )
}

function times(value: string): Html {
  return html`<label>Times (or “always”) <input class="short" name="times" value="${value}"></label>`
}
