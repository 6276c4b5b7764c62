import type { Schema } from '../api/client.ts'
import { formatCount, formatMoney, formatTime, plural } from '../ui/format.ts'

type Purchase = Schema<'Purchase'>
type Transition = Schema<'PurchaseTransition'>

/** What the state of a purchase means for its sponsor, and what happens next. */
export function stateSentences(purchase: Purchase, last: Transition | undefined): string[] {
  const { status, total_amount: total, checkout, failure, allowed_actions: allowed } = purchase
  if (status === 'PENDING' && total === 0) {
    return ['It is free. The organizers approve it, then you get a mail with the codes.']
  }
  if (status === 'PENDING') {
    return ['It is not paid yet. You get the codes when the payment arrives.']
  }
  if (status === 'PROCESSING') {
    if (checkout?.url != null) {
      const until = checkout.expires_at === null ? '' : `, until ${formatTime(checkout.expires_at)}`
      return [
        ...(failure === null ? [] : [`The last try did not succeed: ${sentence(failure.message)}`]),
        `The payment page is open${until}. You get the codes when you have paid.`,
      ]
    }
    if (allowed.includes('checkout')) return ['It is not paid yet. You can pay now.']
    return [
      'Your payment is on its way. A bank debit can take some days.',
      'You get the codes when the money arrives. There is nothing that you must do.',
    ]
  }
  if (status === 'FAILED') return failureSentences(purchase, last)
  if (status === 'REFUNDED') return ['Your money was returned. The codes no longer work.']
  return paidSentences(purchase)
}

function failureSentences({ failure }: Purchase, last: Transition | undefined): string[] {
  if (last?.event === 'CANCELLED') return ['This purchase was cancelled. Nothing was charged.']
  if (last?.event === 'CHECKOUT_EXPIRED') {
    return ['The payment page closed before anybody paid. Nothing was charged.']
  }
  return [`The payment did not succeed${failure === null ? '.' : `: ${sentence(failure.message)}`}`]
}

/** The messages of banks come with and without a full stop. */
const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`)

function paidSentences(purchase: Purchase): string[] {
  const { vouchers, quantity } = purchase
  const sentences: string[] = []
  if (vouchers.issued < quantity) {
    sentences.push(
      `The payment is here. ${plural(quantity, 'code')} ${quantity === 1 ? 'is' : 'are'} being made.`,
    )
  } else if (purchase.total_amount === 0) {
    sentences.push('The organizers approved it. The codes are ready.')
  } else {
    sentences.push(`This purchase is paid.${vouchers.active > 0 ? ' The codes are ready.' : ''}`)
  }
  if (vouchers.deactivated > 0) {
    sentences.push(
      `${formatCount(vouchers.deactivated)} of ${plural(vouchers.issued, 'code')} no longer work.`,
    )
  }
  return sentences
}

const FLAGS: Partial<Record<Purchase['flags'][number]['code'], string>> = {
  amount_mismatch:
    'A payment of another amount arrived. The organizers decide whether to accept or return it.',
  overpaid: 'More than one payment arrived. The organizers return what is too much.',
  refund_failed: 'A refund did not reach your account. The organizers are looking into it.',
  dispute:
    'Your bank reported a dispute about the payment. Until it is decided, the unused codes do not work.',
}

/** What staff are working on, as far as it concerns the sponsor. */
export function flagSentences({ flags, vouchers }: Purchase): string[] {
  const sentences = flags.flatMap(({ code }) => FLAGS[code] ?? [])
  const isDisputed = flags.some(({ code }) => code === 'dispute')
  if (vouchers.frozen > 0 && !isDisputed) {
    const count = plural(vouchers.frozen, 'code')
    sentences.push(
      `${count} ${vouchers.frozen === 1 ? 'is' : 'are'} on hold until a refund is complete.`,
    )
  }
  return sentences
}

/** A line of the history in a sentence; null for what says nothing to a sponsor. */
export function historySentence(
  { event, amount, actor }: Transition,
  { currency }: Purchase,
): string | null {
  const money = amount === null ? 'money' : formatMoney(amount, currency)
  const by = actor.name === null ? '' : ` by ${actor.name}`
  const sentences: Record<string, string> = {
    CHECKOUT_OPENED: `The payment page was opened${by}.`,
    COMP_APPROVED: 'The organizers approved the free codes.',
    COMP_REVOKED: 'The organizers withdrew the free codes.',
    PAYMENT_RECORDED: `The organizers received your payment of ${money}.`,
    PAYMENT_SUCCEEDED: `Your payment of ${money} arrived.`,
    PAYMENT_MISMATCHED: `A payment of another amount arrived: ${money}.`,
    PAYMENT_PENDING: 'Your bank is working on the payment.',
    PAYMENT_DECLINED: 'Your bank declined the card.',
    PAYMENT_FAILED: 'The payment failed.',
    CHECKOUT_EXPIRED: 'The payment page closed before anybody paid.',
    CANCELLED: `The purchase was cancelled${by}.`,
    SECOND_PAYMENT: `A second payment arrived: ${money}. The organizers return it.`,
    REFUND_PENDING: `A refund of ${money} is on its way to you. The codes that it pays back are on hold.`,
    PARTIALLY_REFUNDED: `We returned ${money} to you. Codes of that value no longer work, unused ones first.`,
    REFUNDED: `We returned ${money} to you. The codes no longer work.`,
    REFUND_FAILED: `A refund of ${money} did not reach you. The organizers are looking into it.`,
    DISPUTE_OPENED: `Your bank reported a dispute about ${money}. Unused codes do not work until it is decided.`,
    DISPUTE_WON: 'The dispute was decided for the organizers. The codes work again.',
    DISPUTE_LOST: `Your bank returned ${money} to you after the dispute. Codes of that value no longer work.`,
    REINSTATED: 'The organizers made the codes work again.',
  }
  return sentences[event] ?? null
}

type Terms = Partial<Schema<'VoucherDefaults'>>

/** What a code is good for. */
export function termsSentence(terms: Terms, currency: string): string {
  const { voucher_type: type = 'comp', discount_value: discount = 100, max_uses: uses = 1 } = terms
  const worth =
    type === 'comp'
      ? 'Each code pays the whole price'
      : `Each code takes ${type === 'percentage' ? `${discount} %` : formatMoney(discount, currency)} off the price`
  const times = uses === 1 ? ', once' : `, ${formatCount(uses)} times`
  const until = terms.valid_until == null ? '' : `, until ${formatTime(terms.valid_until)}`
  return `${worth}${times}${until}.`
}

type Voucher = Schema<'Voucher'>

/** Whether a code can be used, in one or two words. */
export function voucherWord(voucher: Voucher): {
  word: string
  tone: 'good' | 'neutral' | 'warn' | 'bad'
} {
  const { times_used: used, max_uses: max, invalid_reason: reason } = voucher
  if (reason === 'deactivated') {
    return { word: used > 0 ? 'Used, switched off' : 'Switched off', tone: 'bad' }
  }
  if (used >= max) return { word: 'Used', tone: 'neutral' }
  if (reason === 'frozen') return { word: 'On hold', tone: 'warn' }
  if (reason === 'expired') return { word: 'Expired', tone: 'bad' }
  if (reason === 'not_yet_valid') return { word: 'Not valid yet', tone: 'warn' }
  if (used > 0) return { word: `Used ${used} of ${max} times`, tone: 'good' }
  return { word: 'Not used', tone: 'good' }
}
