import type Stripe from 'stripe'
import type { Account } from '../core/accounts.ts'
import { idOf } from '../core/ids.ts'
import { charges } from '../kinds/charge.ts'
import { checkoutSessions } from '../kinds/checkout-session.ts'
import { CLOSED_DISPUTE_STATUSES, disputes, isClosedDispute } from '../kinds/dispute.ts'
import { paymentIntents } from '../kinds/payment-intent.ts'
import { refunds } from '../kinds/refund.ts'
import {
  badge,
  code,
  commandButton,
  commandForm,
  field,
  money,
  row,
  SHOWN_ROWS,
  section,
  time,
} from './dashboard-parts.ts'
import { type Html, html } from './page-layout.ts'

export function sessionsSection(account: Account): Html {
  const sessions = account.rows(checkoutSessions).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = sessions.map((session) =>
    row(
      time(session.created),
      code(session.id),
      session.client_reference_id,
      money(session.amount_total, session.currency),
      html`${badge(session.status)} ${badge(session.payment_status)}`,
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

export function paymentsSection(account: Account): Html {
  const intents = account.rows(paymentIntents).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = intents.map((intent) => {
    const charge = account.rows(charges).get(idOf(intent.latest_charge) ?? '')
    return row(
      time(intent.created),
      html`${code(intent.id)}<br>${charge !== undefined && code(charge.id)}`,
      money(intent.amount, intent.currency),
      money(charge?.amount_refunded ?? null, intent.currency),
      html`${badge(intent.status)}${charge?.disputed && html` ${badge('disputed')}`}`,
      paymentActions(account, intent, charge),
    )
  })
  return section(
    'payments',
    'Payments',
    'Amounts in the fields are in the smallest unit; empty means all that is left.',
    ['Created', 'Payment', 'Amount', 'Refunded', 'State', 'Do'],
    rows,
  )
}

function paymentActions(
  account: Account,
  intent: Stripe.PaymentIntent,
  charge: Stripe.Charge | undefined,
): Html {
  const payment = { payment: intent.id }
  if (intent.status === 'processing' || intent.status === 'requires_action')
    return html`${commandButton(account.id, 'settle', 'Bank debit succeeds', payment)}
${commandButton(account.id, 'fail-async', 'Bank debit fails', payment)}
${
  intent.next_action?.display_bank_transfer_instructions !== undefined &&
  commandForm(account.id, 'fund-partially', 'Part arrives', amountField(), payment)
}`
  if (charge?.status !== 'succeeded') return html``
  return html`${
    !charge.refunded &&
    html`${commandButton(account.id, 'refund', 'Refund all', payment)}
${commandForm(account.id, 'refund', 'Refund part', amountField(), payment)}
${commandButton(account.id, 'refund', 'Refund, pending', { ...payment, status: 'pending' })}`
  }
${!charge.disputed && commandForm(account.id, 'dispute', 'Dispute', amountField(), payment)}
${commandButton(account.id, 'early-fraud-warning', 'Fraud warning', payment)}`
}

function amountField(): Html {
  return field('amount', 'Amount', { type: 'number' })
}

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
      badge(refund.status),
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

export function disputesSection(account: Account): Html {
  const newest = account.rows(disputes).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = newest.map((dispute) =>
    row(
      time(dispute.created),
      code(dispute.id),
      code(idOf(dispute.payment_intent) ?? idOf(dispute.charge) ?? ''),
      money(dispute.amount, dispute.currency),
      html`${badge(dispute.status)} ${dispute.reason}`,
      isClosedDispute(dispute) ? '' : disputeActions(account, dispute),
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

function disputeActions(account: Account, { id, status }: Stripe.Dispute): Html {
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
