import type Stripe from 'stripe'
import type { Account } from '../../core/account.ts'
import { idOf } from '../../core/reference.ts'
import { disputes } from '../../objects/dispute.ts'
import { CLOSED_DISPUTE_STATUSES, isClosedDispute } from '../../payments/dispute-charge.ts'
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

export function disputesSection(account: Account): Html {
  const newest = account.rows(disputes).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = newest.map((dispute) =>
    row(
      time(dispute.created),
      code(dispute.id),
      code(idOf(dispute.payment_intent) ?? idOf(dispute.charge) ?? ''),
      money(dispute.amount, dispute.currency),
      html`${state(dispute.status)} ${dispute.reason}`,
      isClosedDispute(dispute) ? '' : actions(account, dispute),
    ),
  )
  return section(
    'disputes',
    'Disputes',
    'Newest first',
    ['Created', 'Dispute', 'Payment', 'Amount', 'State', 'Do'],
    rows,
  )
}

function actions(account: Account, { id, status }: Stripe.Dispute): Html {
  const review = status.startsWith('warning_') ? 'warning_under_review' : 'under_review'
  const outcomes = CLOSED_DISPUTE_STATUSES.map((outcome) =>
    commandButton(account.id, 'close-dispute', outcome, { dispute: id, outcome }),
  )
  return html`${
    status !== review &&
    commandButton(account.id, 'update-dispute', 'Under review', { dispute: id, status: review })
  }
${outcomes}`
}
