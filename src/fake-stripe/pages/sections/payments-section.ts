import type Stripe from 'stripe'
import type { Account } from '../../core/account.ts'
import { idOf } from '../../core/reference.ts'
import { charges } from '../../objects/charge.ts'
import { paymentIntents } from '../../objects/payment-intent.ts'
import {
  code,
  commandButton,
  commandForm,
  field,
  money,
  row,
  SHOWN_ROWS,
  section,
  state,
  time,
} from '../dashboard-parts.ts'
import { type Html, html } from '../html.ts'

export function paymentsSection(account: Account): Html {
  const intents = account.rows(paymentIntents).page({ limit: SHOWN_ROWS })?.data ?? []
  const rows = intents.map((intent) => {
    const charge = account.rows(charges).get(idOf(intent.latest_charge) ?? '')
    return row(
      time(intent.created),
      html`${code(intent.id)}<br>${charge !== undefined && code(charge.id)}`,
      money(intent.amount, intent.currency),
      money(charge?.amount_refunded ?? null, intent.currency),
      html`${state(intent.status)}${charge?.disputed && html` ${state('disputed')}`}`,
      actions(account, intent, charge),
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

function actions(
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
