import type { Account } from '../../core/account.ts'
import { checkoutSessions } from '../../objects/checkout-session.ts'
import {
  code,
  commandButton,
  money,
  row,
  SHOWN_ROWS,
  section,
  state,
  time,
} from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

export function sessionsSection(account: Account): Html {
  const sessions = account.rows(checkoutSessions).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = sessions.map((session) =>
    row(
      time(session.created),
      code(session.id),
      session.client_reference_id,
      money(session.amount_total, session.currency),
      html`${state(session.status)} ${state(session.payment_status)}`,
      session.status === 'open' &&
        html`<a class="button" href="/c/pay/${session.id}">Open page</a>
${commandButton(account.id, 'pay', 'Pay', { session: session.id })}
${commandButton(account.id, 'decline', 'Decline', { session: session.id })}
${commandButton(account.id, 'pay-later', 'Bank debit', { session: session.id })}
${commandButton(account.id, 'expire', 'Expire', { session: session.id })}`,
    ),
  )
  return section(
    'sessions',
    'Checkout sessions',
    'Newest first',
    ['Created', 'Session', 'Reference', 'Total', 'State', 'Do'],
    rows,
  )
}
