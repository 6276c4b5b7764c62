import type { Schema } from '../api/client.ts'
import type { Tone } from '../ui/data.tsx'
import { formatCount, formatMoney, formatTime, plural } from '../ui/format.ts'

type Purchase = Schema<'Purchase'>
type Transition = Schema<'PurchaseTransition'>

/** How purchases of the conference can be paid. */
type Ways = Pick<Schema<'PurchaseOptions'>, 'checkout' | 'bank_details'>

type Word = { word: string; tone: Tone }

const isFree = ({ total_amount: total }: Purchase) => total === 0

/** Staff must decide about a payment of another amount before anything else happens. */
const isBeingChecked = ({ status, flags }: Purchase) =>
  status !== 'PAID' && status !== 'REFUNDED' && flags.some(({ code }) => code === 'amount_mismatch')

/** Whether somebody can pay now: no payment is on its way. */
export const isPayable = (purchase: Purchase): boolean =>
  !isFree(purchase) && purchase.allowed_actions.includes('checkout')

/** The state of a purchase in a few words. */
export function stateWord(purchase: Purchase): Word {
  const { status, total_amount: total } = purchase
  const { amount_received: received, amount_refunded: refunded } = purchase
  if (isBeingChecked(purchase)) return { word: 'Payment being checked', tone: 'warn' }
  if (status === 'PROCESSING' && !isPayable(purchase)) {
    return { word: 'Payment in progress', tone: 'busy' }
  }
  if (status === 'PENDING' || status === 'PROCESSING') {
    return { word: isFree(purchase) ? 'Waits for approval' : 'Not paid yet', tone: 'neutral' }
  }
  if (status === 'FAILED') return { word: 'Not completed', tone: 'bad' }
  if (status === 'REFUNDED') {
    return { word: isFree(purchase) ? 'Taken back' : 'Refunded', tone: 'warn' }
  }
  if (isFree(purchase)) return { word: 'Approved', tone: 'good' }
  return refunded > 0 && received - refunded < total
    ? { word: 'Partly refunded', tone: 'warn' }
    : { word: 'Paid', tone: 'good' }
}

/**
 * What the state of a purchase means for its sponsor, and what happens next.
 *
 * @param history newest first; undefined while it loads.
 * @param ways undefined while they load.
 */
export function stateSentences(
  purchase: Purchase,
  history: readonly Transition[] | undefined,
  ways: Ways | undefined,
): string[] {
  const { status } = purchase
  if (isBeingChecked(purchase)) {
    return ['The organizers check a payment. You get the codes when they accept it.']
  }
  if (status === 'PENDING') return pendingSentences(purchase, ways)
  if (status === 'PROCESSING') return processingSentences(purchase, ways)
  if (status === 'FAILED') return failureSentences(purchase, history, ways)
  if (status === 'REFUNDED') {
    return isFree(purchase)
      ? ['The organizers took the free codes back. They no longer work.']
      : ['Your money was returned. The codes no longer work.']
  }
  return paidSentences(purchase)
}

function pendingSentences(purchase: Purchase, ways: Ways | undefined): string[] {
  if (isFree(purchase)) {
    return ['These codes are free, so the organizers approve them first. Then they appear here.']
  }
  const sentences = ['It is not paid yet. You get the codes when the payment arrives.']
  // Nothing is open that would stop a change.
  if (purchase.checkout === null && !purchase.allowed_actions.includes('update')) {
    sentences.push('The organizers set its price or its terms, so only they can change the order.')
  }
  return [...sentences, ...howToPay(purchase, ways)]
}

/** Only what no button says. */
function howToPay(purchase: Purchase, ways: Ways | undefined): string[] {
  const hasWay = ways === undefined || ways.checkout || ways.bank_details !== null
  if (hasWay || !isPayable(purchase)) return []
  return ['It cannot be paid on this page. Ask the organizers how to pay; they record the payment.']
}

function processingSentences(purchase: Purchase, ways: Ways | undefined): string[] {
  const { checkout, failure } = purchase
  if (checkout?.url != null) {
    const until = checkout.expires_at === null ? '' : `, until ${formatTime(checkout.expires_at)}`
    return [
      ...(failure === null ? [] : [`The last try did not succeed: ${sentence(failure.message)}`]),
      `The payment page is open${until}. You get the codes when you have paid.`,
    ]
  }
  if (isPayable(purchase)) return ['It is not paid yet.', ...howToPay(purchase, ways)]
  return [
    'Your payment is on its way. A bank debit can take some days.',
    'You get the codes when the money arrives. There is nothing that you must do.',
  ]
}

function failureSentences(
  purchase: Purchase,
  history: readonly Transition[] | undefined,
  ways: Ways | undefined,
): string[] {
  const { failure } = purchase
  const end = history?.find(({ from, to }) => to === 'FAILED' && from !== 'FAILED')
  if (end?.event === 'CANCELLED' && isFree(purchase)) {
    return ['This purchase was cancelled. To get free codes, order again.']
  }
  const next = isPayable(purchase) ? howToPay(purchase, ways) : []
  if (end?.event === 'CANCELLED') {
    return ['This purchase was cancelled. Nothing was charged.', ...next]
  }
  if (end?.event === 'CHECKOUT_EXPIRED') {
    return ['The payment page closed before anybody paid. Nothing was charged.', ...next]
  }
  if (end === undefined || failure === null) return ['It was not completed.', ...next]
  return [`The payment did not succeed: ${sentence(failure.message)}`, ...next]
}

/** The messages of banks come with and without a full stop. */
const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`)

function paidSentences(purchase: Purchase): string[] {
  const { vouchers, quantity } = purchase
  const fact = isFree(purchase) ? 'The organizers approved it.' : 'This purchase is paid.'
  const isComplete = vouchers.issued >= quantity
  const codes = `${plural(quantity, 'code')} ${quantity === 1 ? 'is' : 'are'}`
  const sentences = [
    isComplete
      ? `${fact}${vouchers.active > 0 ? ' The codes are ready.' : ''}`
      : `${fact} ${codes} being made.`,
  ]
  if (vouchers.deactivated > 0) {
    const verb = vouchers.deactivated === 1 ? 'works' : 'work'
    sentences.push(
      `${formatCount(vouchers.deactivated)} of ${plural(vouchers.issued, 'code')} no longer ${verb}.`,
    )
  }
  return sentences
}

const FLAGS: Partial<Record<Purchase['flags'][number]['code'], string>> = {
  amount_mismatch:
    'A payment of another amount arrived. The organizers decide whether to accept or return it.',
  overpaid: 'More than one payment arrived. The organizers return what is too much.',
  refund_failed: 'A refund did not reach your account. The organizers are looking into it.',
}

const DISPUTE = 'Your bank reported a dispute about the payment.'

/** What staff are working on, as far as it concerns the sponsor. */
export function flagSentences({ flags, vouchers }: Purchase): string[] {
  const sentences = flags.flatMap(({ code }) => FLAGS[code] ?? [])
  const isDisputed = flags.some(({ code }) => code === 'dispute')
  if (isDisputed) {
    // Staff may have to close the flag of a dispute that is decided.
    const codes = vouchers.frozen > 0 ? ' Until it is decided, the unused codes do not work.' : ''
    sentences.push(`${DISPUTE}${codes}`)
  }
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
    COMP_REVOKED: 'The organizers took the free codes back.',
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
export function voucherWord(voucher: Voucher): Word {
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
