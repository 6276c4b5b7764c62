import type { Schema } from '../api/client.ts'
import type { Tone } from '../ui/data.tsx'
import { formatMoney, formatTime, plural } from '../ui/format.ts'

type Voucher = Schema<'Voucher'>
type Reason = NonNullable<Voucher['invalid_reason']>

/** Whether a code can be used, in words for the door: what it is, and why. */
export type Verdict = { isGood: boolean; title: string; why: string }

const REASONS: Record<Reason, (voucher: Voucher) => Omit<Verdict, 'isGood'>> = {
  deactivated: () => ({
    title: 'Not good: deactivated',
    why: 'Its payment was refunded or disputed, or staff deactivated it.',
  }),
  frozen: () => ({
    title: 'Not good now: frozen',
    why: 'A refund or a dispute of its payment is still open.',
  }),
  published: () => ({
    title: 'Good only in a Stripe checkout',
    why: 'It is a promotion code of Stripe now, and is counted there.',
  }),
  used_up: ({ max_uses: max, uses_held: held }) => ({
    title: held > 0 ? 'Not good now: held for an order' : 'Not good: already used',
    why:
      held > 0
        ? 'Somebody is buying with it. The hold ends by itself.'
        : max === 1
          ? 'It works once.'
          : `All of its ${plural(max, 'use')} are taken.`,
  }),
  not_yet_valid: ({ valid_from: from }) => ({
    title: 'Not good yet',
    why: from === null ? 'Its time has not begun.' : `It works from ${formatTime(from)}.`,
  }),
  expired: ({ valid_until: until }) => ({
    title: 'Not good: expired',
    why: until === null ? 'Its time is over.' : `It worked until ${formatTime(until)}.`,
  }),
}

export function verdictOf(voucher: Voucher): Verdict {
  const { invalid_reason: reason, max_uses: max, times_used: used, uses_held: held } = voucher
  if (reason !== null) return { isGood: false, ...REASONS[reason](voucher) }
  const left = max - used - held
  const why = max === 1 ? 'It was not used yet.' : `${plural(left, 'use')} of ${max} left.`
  return { isGood: true, title: 'This code is good', why }
}

const SHORT: Record<Reason, { tone: Tone; word: string }> = {
  deactivated: { tone: 'bad', word: 'Deactivated' },
  frozen: { tone: 'warn', word: 'Frozen' },
  published: { tone: 'busy', word: 'At Stripe' },
  used_up: { tone: 'neutral', word: 'Used' },
  not_yet_valid: { tone: 'warn', word: 'Not yet' },
  expired: { tone: 'neutral', word: 'Expired' },
}

/** One word for a list. */
export const shortVerdictOf = ({
  invalid_reason: reason,
}: Voucher): { tone: Tone; word: string } =>
  reason === null ? { tone: 'good', word: 'Good' } : SHORT[reason]

/** What the code gives: `free`, `20 % off`, `€10.00 off`. */
export function benefitOf(
  { voucher_type: type, discount_value: value }: Pick<Voucher, 'voucher_type' | 'discount_value'>,
  currency: string,
) {
  if (type === 'percentage') return `${value} % off`
  return type === 'fixed_amount' ? `${formatMoney(value, currency)} off` : 'Free'
}
