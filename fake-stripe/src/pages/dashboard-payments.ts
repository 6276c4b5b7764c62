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
  section,
  sliceRows,
  time,
  type View,
} from './dashboard-parts.ts'
import { type Html, html } from './page-layout.ts'

export function sessionsSection(account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(checkoutSessions), view, 'sessions')
  const columns = ['Created', 'Session', 'Reference', 'Total', 'State', 'Actions']
  return section(
    { id: 'sessions', title: 'Checkout sessions', caption: 'Newest first', columns, view, pages },
    items.map((session) => [
      time(session.created),
      code(session.id),
      session.client_reference_id,
      money(session.amount_total, session.currency),
      html`${badge(session.status)} ${badge(session.payment_status)}`,
      session.status === 'open' && sessionActions(view, session.id),
    ]),
  )
}

function sessionActions(view: View, session: string): Html {
  return html`<a class="button" href="/c/pay/${session}">Open page</a>
${commandButton(view, 'pay', 'Pay', { session })}
${commandButton(view, 'decline', 'Decline', { session })}
${commandButton(view, 'pay-later', 'Bank debit', { session })}
${commandButton(view, 'expire', 'Expire', { session })}`
}

export function paymentsSection(account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(paymentIntents), view, 'payments')
  const columns = ['Created', 'Payment', 'Amount', 'Refunded', 'State', 'Actions']
  const caption =
    'Amounts in the fields are in the smallest unit; an empty field means the full remaining amount.'
  return section(
    { id: 'payments', title: 'Payments', caption, columns, view, pages },
    items.map((intent) => {
      const charge = account.rows(charges).get(idOf(intent.latest_charge) ?? '')
      return [
        time(intent.created),
        html`${code(intent.id)}<br>${charge !== undefined && code(charge.id)}`,
        money(intent.amount, intent.currency),
        money(charge?.amount_refunded ?? null, intent.currency),
        html`${badge(intent.status)}${charge?.disputed && html` ${badge('disputed')}`}`,
        paymentActions(view, intent, charge),
      ]
    }),
  )
}

function paymentActions(
  view: View,
  intent: Stripe.PaymentIntent,
  charge: Stripe.Charge | undefined,
): Html {
  const payment = { payment: intent.id }
  if (intent.status === 'processing' || intent.status === 'requires_action')
    return html`${commandButton(view, 'settle', 'Bank debit succeeds', payment)}
${commandButton(view, 'fail-async', 'Bank debit fails', payment)}
${
  intent.next_action?.display_bank_transfer_instructions !== undefined &&
  commandForm(view, 'fund-partially', 'Part arrives', amountField(), payment)
}`
  if (charge?.status !== 'succeeded') return html``
  return html`${
    !charge.refunded &&
    html`${commandButton(view, 'refund', 'Refund all', payment)}
${commandForm(view, 'refund', 'Refund part', amountField(), payment)}
${commandButton(view, 'refund', 'Refund, pending', { ...payment, status: 'pending' })}`
  }
${!charge.disputed && commandForm(view, 'dispute', 'Dispute', amountField(), payment)}
${commandButton(view, 'early-fraud-warning', 'Fraud warning', payment)}`
}

function amountField(): Html {
  return field('amount', 'Amount', { type: 'number' })
}

export function refundsSection(account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(refunds), view, 'refunds')
  const columns = ['Created', 'Refund', 'Payment', 'Amount', 'State', 'Actions']
  return section(
    { id: 'refunds', title: 'Refunds', caption: 'Newest first', columns, view, pages },
    items.map((refund) => {
      const input = { refund: refund.id }
      const open = refund.status === 'pending' || refund.status === 'requires_action'
      const ended = refund.status === 'failed' || refund.status === 'canceled'
      return [
        time(refund.created),
        code(refund.id),
        code(idOf(refund.payment_intent) ?? idOf(refund.charge) ?? ''),
        money(refund.amount, refund.currency),
        badge(refund.status),
        html`${open && commandButton(view, 'settle-refund', 'Succeeds', input)}
${!ended && commandButton(view, 'fail-refund', 'Fails', input)}`,
      ]
    }),
  )
}

export function disputesSection(account: Account, view: View): Html {
  const { items, ...pages } = sliceRows(account.rows(disputes), view, 'disputes')
  const columns = ['Created', 'Dispute', 'Payment', 'Amount', 'State', 'Actions']
  return section(
    { id: 'disputes', title: 'Disputes', caption: 'Newest first', columns, view, pages },
    items.map((dispute) => [
      time(dispute.created),
      code(dispute.id),
      code(idOf(dispute.payment_intent) ?? idOf(dispute.charge) ?? ''),
      money(dispute.amount, dispute.currency),
      html`${badge(dispute.status)} ${dispute.reason}`,
      isClosedDispute(dispute) ? '' : disputeActions(view, dispute),
    ]),
  )
}

function disputeActions(view: View, { id, status }: Stripe.Dispute): Html {
  const review = status.startsWith('warning_') ? 'warning_under_review' : 'under_review'
  const outcomes = CLOSED_DISPUTE_STATUSES.map((outcome) =>
    commandButton(view, 'close-dispute', outcome, { dispute: id, outcome }),
  )
  return html`${
    status !== review &&
    commandButton(view, 'update-dispute', 'Under review', { dispute: id, status: review })
  }
${outcomes}`
}
