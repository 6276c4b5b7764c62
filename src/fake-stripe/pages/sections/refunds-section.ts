import type { Account } from '../../core/account.ts'
import { idOf } from '../../core/reference.ts'
import { refunds } from '../../objects/refund.ts'
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

export function refundsSection(account: Account): Html {
  const newest = account.rows(refunds).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = newest.map((refund) => {
    const input = { refund: refund.id }
    const open = refund.status === 'pending' || refund.status === 'requires_action'
    const over = refund.status === 'failed' || refund.status === 'canceled'
    return row(
      time(refund.created),
      code(refund.id),
      code(idOf(refund.payment_intent) ?? idOf(refund.charge) ?? ''),
      money(refund.amount, refund.currency),
      state(refund.status),
      html`${open && commandButton(account.id, 'settle-refund', 'Succeeds', input)}
${!over && commandButton(account.id, 'fail-refund', 'Fails', input)}`,
    )
  })
  return section(
    'refunds',
    'Refunds',
    'Newest first',
    ['Created', 'Refund', 'Payment', 'Amount', 'State', 'Do'],
    rows,
  )
}
