import type { Account } from '../../core/account.ts'
import type { World } from '../../core/world.ts'
import { code, row, SHOWN_ROWS, section } from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

/** @param marked `req_…` from an error's `request_log_url`. */
export function requestsSection(world: World, account: Account, marked: string | undefined): Html {
  const newest = world.requests.list({ account: account.id }).slice(-SHOWN_ROWS).reverse()
  const found = world.requests.list().find(({ id }) => id === marked)
  const entries = found === undefined ? newest : [found]
  const rows = entries.map((entry) =>
    row(
      entry.at.slice(0, 19).replace('T', ' '),
      code(`${entry.method} ${entry.path}`),
      html`<details><summary>Parameters</summary>${code(JSON.stringify(entry.params))}</details>`,
      entry.idempotencyKey,
      `${entry.status ?? 'no answer'}${entry.replayed ? ' (replayed)' : ''}`,
      entry.trouble,
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
