import { z } from 'zod'
import { formatMoney } from '../shared/money.ts'
import type { BulkPurchase } from './bulk-purchase.ts'

/** What a sponsor's contact is written about. */
export const letterKind = z.enum([
  'codes_ready',
  'failed',
  'partially_refunded',
  'refunded',
  'disputed',
])

export type LetterKind = z.infer<typeof letterKind>

export type LetterFacts = {
  purchase: BulkPurchase
  conference: string
  sponsor: string
  /** Where the purchase and its codes are to be seen; null: nobody told us. */
  link: string | null
  /** Whether the codes come with the mail. */
  attached: boolean
}

/** What was true when the mail was asked for and is no more need not be told; nor sent codes that are off. */
export function isStale(kind: LetterKind, { status }: BulkPurchase): boolean {
  if (kind === 'codes_ready') return status !== 'PAID'
  if (kind === 'failed') return status !== 'FAILED'
  return kind === 'refunded' && status !== 'REFUNDED'
}

const codes = (count: number) => (count === 1 ? '1 voucher code' : `${count} voucher codes`)

const SUBJECTS: Record<LetterKind, (facts: LetterFacts) => string> = {
  codes_ready: ({ purchase, conference }) =>
    `Your ${codes(purchase.quantity)} for ${conference} ${purchase.quantity === 1 ? 'is' : 'are'} ready`,
  failed: ({ conference }) => `Your purchase of voucher codes for ${conference} was not completed`,
  partially_refunded: ({ conference }) => `Part of your payment for ${conference} was refunded`,
  refunded: ({ conference }) => `Your payment for ${conference} was refunded`,
  disputed: ({ conference }) => `Your payment for ${conference} is disputed`,
}

const BODIES: Record<LetterKind, (facts: LetterFacts) => string[]> = {
  codes_ready: ({ purchase, attached }) => [
    `the ${codes(purchase.quantity)} that you bought are ready.`,
    attached
      ? 'They come with this mail as a CSV file. Whoever has a code can use it, so keep the file to yourself.'
      : 'They are too many for a mail; download them as a CSV file from the address below.',
  ],
  failed: ({ purchase }) => [
    'the payment of your voucher codes was not completed, and no codes were issued.',
    ...(purchase.failure === null ? [] : [`Reason: ${purchase.failure.message}`]),
    'You can open the checkout of this purchase again at any time.',
  ],
  partially_refunded: ({ purchase }) => [
    `of your payment of ${formatMoney(purchase.amountReceived, purchase.currency)}, ${formatMoney(purchase.amountRefunded, purchase.currency)} went back to you in all.`,
    'As many codes as that pays for no longer work; unused ones were taken first.',
  ],
  refunded: () => [
    'your payment went back to you in full. The codes of this purchase no longer work.',
  ],
  disputed: () => [
    'your bank tells us that the payment of your voucher codes is disputed.',
    'Until that is settled the unused codes of this purchase do not work.',
  ],
}

/** Subject and text of a mail, in plain text. No code stands in either. */
export function writeLetter(
  kind: LetterKind,
  facts: LetterFacts,
): { subject: string; text: string } {
  const { purchase, sponsor, link, conference } = facts
  const details = [
    `Purchase: ${purchase.id}`,
    `What: ${purchase.description}`,
    ...(purchase.reference === null ? [] : [`Your reference: ${purchase.reference}`]),
    `Total: ${formatMoney(purchase.totalAmount, purchase.currency)}`,
    ...(link === null ? [] : [`Address: ${link}`]),
  ]
  const paragraphs = [
    `Dear ${sponsor},`,
    BODIES[kind](facts).join('\n'),
    details.join('\n'),
    conference,
  ]
  return { subject: SUBJECTS[kind](facts), text: `${paragraphs.join('\n\n')}\n` }
}
